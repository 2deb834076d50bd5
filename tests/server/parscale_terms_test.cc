// What requests may ask of PARSCALE, by what a server has.
#include "server/parscale_terms.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

using enum StreamMode;

StreamSet Set(uint32_t id, uint32_t streams, bool elastic) {
  return {.id = id,
          .streams = streams,
          .elastic = elastic,
          .gain = std::vector<double>(streams, 0.0)};
}

const std::vector<StreamSet> kNested = {Set(1, 4, true)};
const std::vector<StreamSet> kTrio = {Set(1, 2, false), Set(2, 4, false),
                                      Set(3, 8, false)};

ParscaleOffer Offer(const std::vector<StreamSet>& sets, StreamMode mode = kOff,
                    uint32_t most = 0) {
  const auto offer = ParscaleOffer::Create(sets, mode, most);
  EXPECT_TRUE(offer.ok()) << offer.status();
  return offer.ok() ? *offer : ParscaleOffer();
}

ParscaleTerms Asked(std::optional<StreamMode> mode,
                    std::optional<uint32_t> min = std::nullopt,
                    std::optional<uint32_t> max = std::nullopt) {
  return {.given = true, .mode = mode, .min = min, .max = max};
}

// "auto 1-4", or "parscale.max: ...".
std::string Resolved(const ParscaleOffer& offer, const ParscaleTerms& asked) {
  const auto terms = offer.Resolve(asked);
  if (!terms.ok()) return std::string(terms.status().message());
  return std::string(ToString(terms->mode)) + " " + std::to_string(terms->min) +
         "-" + std::to_string(terms->max);
}

TEST(ParscaleTermsTest, WhatIsNotAskedIsTheServers) {
  EXPECT_EQ(Resolved(ParscaleOffer(), {}), "off 1-1");
  EXPECT_EQ(Resolved(Offer(kNested), {}), "off 1-1");
  EXPECT_EQ(Resolved(Offer(kNested, kAuto), {}), "auto 1-4");
  EXPECT_EQ(Resolved(Offer(kNested, kFixed), {}), "fixed 1-4");
  EXPECT_EQ(Resolved(Offer(kNested, kAuto, 3), {}), "auto 1-3");
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kAuto)), "auto 1-4");
  EXPECT_EQ(Resolved(Offer(kNested, kAuto), Asked(kOff)), "off 1-1");
  EXPECT_EQ(Resolved(Offer(kNested, kAuto), Asked({}, 2, 3)), "auto 2-3");
}

TEST(ParscaleTermsTest, OffIsAlwaysFine) {
  EXPECT_EQ(Resolved(ParscaleOffer(), Asked(kOff)), "off 1-1");
  EXPECT_EQ(Resolved(ParscaleOffer(), Asked(kOff, 1, 4)), "off 1-1");
  EXPECT_EQ(Resolved(Offer(kNested, kFixed), Asked(kOff, 1, 4)), "off 1-1");
}

TEST(ParscaleTermsTest, OneStreamIsOff) {
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kFixed, {}, 1)), "off 1-1");
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kAuto, {}, 1)), "off 1-1");
  EXPECT_EQ(Resolved(Offer(kTrio), Asked(kFixed, {}, 1)), "off 1-1");
}

TEST(ParscaleTermsTest, NoWeightsNamesTheRemedy) {
  for (const StreamMode mode : {kAuto, kFixed}) {
    const auto terms = ParscaleOffer().Resolve(Asked(mode));
    EXPECT_EQ(ToApiError(terms.status()).http_status, 400);
    EXPECT_EQ(ToApiError(terms.status()).param, "parscale.mode");
    EXPECT_NE(terms.status().message().find("--parscale FILE"),
              std::string::npos);
  }
  EXPECT_EQ(Resolved(Offer(kNested), Asked({}, {}, 2)),
            "parscale.mode: is missing: this server's default is 'off', which "
            "has no streams to count; give 'auto' or 'fixed'");
}

TEST(ParscaleTermsTest, BoundsAreTheModels) {
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kFixed, {}, 5)),
            "parscale.max: must be between 1 and 4, not 5: this server has no "
            "more streams");
  EXPECT_EQ(Resolved(Offer(kNested, kOff, 2), Asked(kAuto, {}, 3)),
            "parscale.max: must be between 1 and 2, not 3: this server has no "
            "more streams");
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kAuto, 0, 3)),
            "parscale.min: must be between 1 and parscale.max, 3, not 0");
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kAuto, 5)),
            "parscale.min: must be between 1 and parscale.max, 4, not 5");
  EXPECT_EQ(Resolved(Offer(kNested), Asked(kAuto, 3, 2)),
            "parscale.min: must be between 1 and parscale.max, 2, not 3");
}

// Each number of streams needs weights of its own.
TEST(ParscaleTermsTest, SetsOfOneNumberOfStreamsEach) {
  const ParscaleOffer offer = Offer(kTrio);
  EXPECT_EQ(Resolved(offer, Asked(kFixed)), "fixed 1-8");
  EXPECT_EQ(Resolved(offer, Asked(kFixed, {}, 4)), "fixed 1-4");
  EXPECT_EQ(Resolved(offer, Asked(kFixed, {}, 3)),
            "parscale.max: there are weights for 1, 2, 4 or 8 streams, not for "
            "3");
  EXPECT_EQ(Resolved(offer, Asked(kAuto, 1, 3)), "auto 1-3");
  EXPECT_EQ(Resolved(offer, Asked(kAuto, 5, 7)),
            "parscale.max: there are weights for 1, 2, 4 or 8 streams, not for "
            "any number from 5 to 7");
  EXPECT_EQ(Resolved(Offer(kTrio, kOff, 6), Asked(kFixed)), "fixed 1-4");
}

TEST(ParscaleTermsTest, AModeWithoutWeightsIsTheOperatorsMistake) {
  const auto none = ParscaleOffer::Create({}, kAuto, 0);
  EXPECT_EQ(none.status().message(),
            "--parscale-mode auto: there are no PARSCALE weights; give "
            "--parscale FILE, an adapter made for this model");
  EXPECT_FALSE(ParscaleOffer::Create(kNested, kFixed, 1).ok());
  EXPECT_TRUE(ParscaleOffer::Create({}, kOff, 1).ok());
  EXPECT_EQ(ParscaleOffer::Create({}, kOff, 4).status().message(),
            "--parscale-max 4: there are no PARSCALE weights; give --parscale "
            "FILE, an adapter made for this model, or leave it out");
}

// The field itself, in both kinds of completion.
absl::StatusOr<ParscaleTerms> Parse(const std::string& parscale) {
  const std::string field = R"(,"parscale":)" + parscale + "}";
  const auto chat = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"x"}])" + field, 100);
  const auto text = ParseCompletionRequest(R"({"prompt":"x")" + field, 100);
  EXPECT_EQ(chat.status(), text.status());
  if (!chat.ok()) return chat.status();
  EXPECT_EQ(chat->options.parscale.mode, text->options.parscale.mode);
  return chat->options.parscale;
}

TEST(ParscaleFieldTest, ReadsAllOfIt) {
  const auto terms =
      Parse(R"({"mode":"auto","min":2,"max":3,"per_token":true})");
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_TRUE(terms->given);
  EXPECT_EQ(terms->mode, kAuto);
  EXPECT_EQ(terms->min, 2u);
  EXPECT_EQ(terms->max, 3u);
  EXPECT_TRUE(terms->per_token);
  const auto empty = Parse("{}");
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->given);
  EXPECT_FALSE(empty->mode || empty->min || empty->max || empty->per_token);
  const auto null = Parse("null");
  ASSERT_TRUE(null.ok());
  EXPECT_FALSE(null->given);
}

TEST(ParscaleFieldTest, RefusesWhatMakesNoSense) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"true",
       "parscale: must be an object with mode, min and max, not a boolean"},
      {R"({"modes":"auto"})",
       "parscale.modes: is not known; there are mode, min, max and per_token"},
      {R"({"mode":"on"})", "parscale.mode: must be 'off', 'auto' or 'fixed'"},
      {R"({"mode":1})", "parscale.mode: must be a string, not an integer"},
      {R"({"min":0})", "parscale.min: must be between 1 and 8, not 0"},
      {R"({"max":9})", "parscale.max: must be between 1 and 8, not 9"},
      {R"({"max":2.5})", "parscale.max: must be an integer, not 2.5"},
      {R"({"min":3,"max":2})",
       "parscale.min: must not be above parscale.max, 2, but is 3"},
      {R"({"per_token":1})",
       "parscale.per_token: must be a boolean, not an integer"}};
  for (const auto& [field, message] : cases) {
    EXPECT_EQ(Parse(field).status().message(), message) << field;
  }
}

}  // namespace
}  // namespace braid::server
