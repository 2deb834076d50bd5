// PARSCALE over HTTP: what is asked, what is refused, what the answer tells of
// it, and that its text is that of the streams it tells of.
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/api_server.h"

namespace braid::server {
namespace {

using ::testing::Each;

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kText[] = "/v1/completions";

// How many streams there are depends on what steps have taken: as long each, so
// that it does not depend on this machine.
ApiServerOptions Nested(StreamMode mode = StreamMode::kOff) {
  ApiServerOptions options;
  options.step = std::chrono::milliseconds(5);
  options.engine.stream_sets = {{.id = 1,
                                 .streams = 4,
                                 .elastic = true,
                                 .gain = {0, 0.1, 0.15, 0.18},
                                 .fingerprint = 77}};
  options.parscale_mode = mode;
  return options;
}

// `parscale` is JSON.
std::string Body(int seed, uint32_t tokens, const std::string& parscale,
                 const char* more = "") {
  return absl::StrCat(R"({"prompt":"abcd","seed":)", seed, R"(,"max_tokens":)",
                      tokens, R"(,"ignore_eos":true,"parscale":)", parscale,
                      more, "}");
}

std::vector<uint32_t> StreamsAt(const JsonValue& choice) {
  std::vector<uint32_t> streams;
  const JsonValue* list = choice.Find("parscale_streams");
  if (list == nullptr || list->array() == nullptr) return streams;
  for (const JsonValue& each : *list->array()) {
    streams.push_back(static_cast<uint32_t>(*each.integer()));
  }
  return streams;
}

double MeanOf(const JsonValue& answer) {
  const JsonValue* mean = At(answer, {"usage", "parscale", "mean"});
  if (mean == nullptr) return -1;
  if (mean->integer() != nullptr) return static_cast<double>(*mean->integer());
  return mean->real() != nullptr ? *mean->real() : -1;
}

double MeanOf(const std::vector<uint32_t>& streams) {
  return std::accumulate(streams.begin(), streams.end(), 0.0) /
         static_cast<double>(streams.size());
}

bool NothingHeld(const EngineStats& stats) {
  for (const auto& pool : stats.kv_blocks) {
    uint32_t sum = 0;
    for (const uint32_t count : pool) sum += count;
    if (pool[static_cast<size_t>(BlockState::kFree)] +
            pool[static_cast<size_t>(BlockState::kCached)] !=
        sum) {
      return false;
    }
  }
  return true;
}

TEST(ApiParscaleTest, FixedIsOfThatManyStreams) {
  ApiServer server(Nested());
  for (const uint32_t p : {2u, 3u, 4u}) {
    const std::vector<uint32_t> all(20, p);
    const JsonValue answer =
        Post(server, kText,
             Body(5, 20,
                  absl::StrCat(R"({"mode":"fixed","max":)", p,
                               R"(,"per_token":true})")));
    EXPECT_EQ(TextAt(answer, {"choices", 0, "text"}),
              server.Answer("abcd", 5, 20, all).text);
    EXPECT_EQ(MeanOf(answer), p);
    EXPECT_EQ(StreamsAt(*At(answer, {"choices", 0})), all);
  }
  // Without a maximum: all there are. Unasked, tokens tell nothing.
  const JsonValue answer =
      Post(server, kText, Body(5, 9, R"({"mode":"fixed"})"));
  EXPECT_EQ(MeanOf(answer), 4);
  EXPECT_EQ(At(answer, {"choices", 0, "parscale_streams"}), nullptr);
}

TEST(ApiParscaleTest, OffIsThePlainModel) {
  ApiServer with(Nested()), without;
  for (ApiServer* server : {&with, &without}) {
    const JsonValue answer =
        Post(*server, kText, Body(5, 20, R"({"mode":"off","per_token":true})"));
    EXPECT_EQ(TextAt(answer, {"choices", 0, "text"}),
              server->Answer("abcd", 5, 20).text);
    EXPECT_EQ(MeanOf(answer), 1);
    EXPECT_THAT(StreamsAt(*At(answer, {"choices", 0})), Each(1u));
    // Who does not ask is told nothing.
    const JsonValue plain = Post(*server, kText, Body(5, 20, "null"));
    EXPECT_EQ(TextAt(plain, {"choices", 0, "text"}),
              TextAt(answer, {"choices", 0, "text"}));
    EXPECT_EQ(At(plain, {"usage", "parscale"}), nullptr);
  }
}

TEST(ApiParscaleTest, AutoIsTheTextOfTheStreamsItTells) {
  ApiServer server(Nested(StreamMode::kAuto));
  const JsonValue answer =
      Post(server, kText, Body(5, 120, R"({"per_token":true})"));
  const std::vector<uint32_t> streams = StreamsAt(*At(answer, {"choices", 0}));
  ASSERT_EQ(streams.size(), 120u);
  EXPECT_EQ(TextAt(answer, {"choices", 0, "text"}),
            server.Answer("abcd", 5, 120, streams).text);
  EXPECT_NEAR(MeanOf(answer), MeanOf(streams), 1e-5);
  EXPECT_GT(MeanOf(streams), 1.5);
  // The default mode alone is reason enough to tell the mean.
  EXPECT_GE(MeanOf(Post(server, kText, Body(5, 20, "null"))), 1);
}

TEST(ApiParscaleTest, StreamedChunksTellTheirTokens) {
  ApiServer server(Nested());
  HttpClient client(server.port());
  for (const char* path : {kText, kChat}) {
    std::string body =
        Body(5, 60, R"({"mode":"auto","min":2,"per_token":true})",
             R"(,"messages":[{"role":"user","content":"abcd"}],"stream":true,
            "stream_options":{"include_usage":true})");
    const ClientResponse response = client.Post(path, body);
    ASSERT_EQ(response.status, 200) << response.body;
    std::vector<uint32_t> streams;
    std::string text;
    double mean = 0;
    for (const std::string& event : EventsOf(response.body)) {
      if (event == "[DONE]") continue;
      const auto chunk = ParseJson(event);
      ASSERT_TRUE(chunk.ok()) << event;
      if (At(*chunk, {"usage", "parscale"}) != nullptr) mean = MeanOf(*chunk);
      const JsonValue* choice = At(*chunk, {"choices", 0});
      if (choice == nullptr) continue;
      for (const uint32_t p : StreamsAt(*choice)) streams.push_back(p);
      const JsonValue* content = path == kText
                                     ? choice->Find("text")
                                     : At(*choice, {"delta", "content"});
      if (content != nullptr) text += *content->string();
    }
    ASSERT_EQ(streams.size(), 60u);
    EXPECT_EQ(text, server.Answer("abcd", 5, 60, streams).text);
    EXPECT_NEAR(mean, MeanOf(streams), 1e-5);
  }
}

// Alone or in a crowd of all modes.
TEST(ApiParscaleTest, CrowdsChangeNoFixedAnswer) {
  ApiServer server(Nested());
  const char* const modes[] = {R"({"mode":"fixed","max":3,"per_token":true})",
                               R"({"mode":"auto","per_token":true})",
                               R"({"mode":"off","per_token":true})",
                               R"({"mode":"fixed","per_token":true})"};
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->SendRequest("POST", kText, Body(i, 40, modes[i % 4]));
  }
  for (int i = 0; i < 16; ++i) {
    const ClientResponse response = clients[i]->Receive();
    ASSERT_EQ(response.status, 200) << response.body;
    const JsonValue answer = response.json();
    const auto streams = StreamsAt(*At(answer, {"choices", 0}));
    ASSERT_EQ(streams.size(), 40u);
    const uint32_t fixed[] = {3, 0, 1, 4};
    if (fixed[i % 4] > 0) {
      EXPECT_THAT(streams, Each(fixed[i % 4]));
    }
    EXPECT_EQ(
        TextAt(answer, {"choices", 0, "text"}),
        server.Answer("abcd", static_cast<uint64_t>(i), 40, streams).text);
  }
  EXPECT_TRUE(server.WaitFor(NothingHeld));
}

TEST(ApiParscaleTest, AClientThatLeavesHoldsNothing) {
  ApiServer server(Nested());
  for (const char* mode : {R"({"mode":"fixed"})", R"({"mode":"auto"})"}) {
    {
      HttpClient client(server.port());
      client.SendRequest("POST", kText,
                         Body(5, 200, mode, R"(,"stream":true)"));
      EXPECT_EQ(client.ReceiveHead().status, 200);
      EXPECT_TRUE(client.ReceiveChunk().has_value());
      // Held open until here, so that it is cut in the middle of its answer.
    }
    EXPECT_TRUE(server.WaitFor([](const EngineStats& stats) {
      return stats.prefilling + stats.decoding + stats.queued == 0 &&
             NothingHeld(stats);
    }));
    EXPECT_EQ(server.engine().Snapshot().streams.active, 0u);
  }
}

TEST(ApiParscaleTest, RefusalsAreBeforeAnyWork) {
  ApiServer with(Nested()), without;
  const auto refused = [](ApiServer& server, const char* parscale) {
    const JsonValue answer = Post(server, kText, Body(5, 5, parscale), 400);
    return TextAt(answer, {"error", "message"});
  };
  EXPECT_TRUE(absl::StrContains(refused(without, R"({"mode":"auto"})"),
                                "--parscale FILE"));
  EXPECT_TRUE(absl::StrContains(refused(without, R"({"mode":"fixed","max":2})"),
                                "--parscale FILE"));
  EXPECT_EQ(refused(with, R"({"mode":"fixed","max":5})"),
            "parscale.max: must be between 1 and 4, not 5: this server has no "
            "more streams");
  EXPECT_EQ(refused(with, R"({"mode":"auto","limit":5})"),
            "parscale.limit: is not known; there are mode, min, max and "
            "per_token");
  EXPECT_EQ(with.engine().Snapshot().requests_received, 0u);
}

TEST(ApiParscaleTest, TheServerTellsWhatItHas) {
  ApiServer with(Nested(StreamMode::kAuto)), without;
  HttpClient to_with(with.port()), to_without(without.port());
  EXPECT_TRUE(absl::StrContains(to_with.Get("/v1/models").body,
                                R"("parscale":{"mode":"auto","max":4})"));
  EXPECT_FALSE(
      absl::StrContains(to_without.Get("/v1/models").body, "parscale"));
  Post(with, kText, Body(5, 60, R"({"mode":"auto"})"));
  ASSERT_TRUE(with.WaitFor([](const EngineStats& stats) {
    return stats.decoding == 0 && stats.streams.filled > 0;
  }));
  const JsonValue state = to_with.Get("/debug/scheduler").json();
  EXPECT_GT(IntegerAt(state, {"streams", "rows_offered"}), 0);
  EXPECT_GT(IntegerAt(state, {"streams", "rows_filled"}), 0);
  EXPECT_EQ(IntegerAt(state, {"streams", "active"}), 0);
  EXPECT_GT(IntegerAt(state, {"devices", 0, "stream_tokens"}) +
                IntegerAt(state, {"devices", 1, "stream_tokens"}),
            0);
}

}  // namespace
}  // namespace braid::server
