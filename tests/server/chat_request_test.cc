#include "server/openai/chat_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr int32_t kVocabulary = 100;

ApiError ErrorOf(absl::string_view body) {
  const auto request = ParseChatRequest(body, kVocabulary);
  EXPECT_FALSE(request.ok()) << body;
  return ToApiError(request.status());
}

TEST(ChatRequestTest, DefaultsAreOpenAis) {
  const auto request = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"hi"}],"unknown":1})",
      kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->options.sampling, SamplingParams{});
  EXPECT_EQ(request->options.n, 1u);
  EXPECT_FALSE(request->options.stream);
  EXPECT_FALSE(request->options.max_tokens.has_value());
  EXPECT_TRUE(request->add_generation_prompt);
}

TEST(ChatRequestTest, DevelopersSpeakAsTheSystem) {
  const auto request = ParseChatRequest(
      R"({"messages":[{"role":"developer","content":"be brief"}]})",
      kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(ToJson(request->messages),
            R"([{"role":"system","content":"be brief"}])");
}

TEST(ChatRequestTest, WhatHasNoEffectIsKnown) {
  const auto request = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"hi","name":"x"}],"stream":true,
          "max_token":3,"user":null,"store":false,"a\r\nb":1,"temperature":0,
          "stream_options":{"include_usage":true,"often":true}})",
      kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->options.ignored_fields,
              UnorderedElementsAre("max_token", "store", "other",
                                   "stream_options.often"));
}

TEST(ChatRequestTest, NotAllThatHasNoEffectIsKept) {
  std::string body = R"({"messages":[{"role":"user","content":"hi"}])";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&body, ",\"f", i, "\":1");
  const auto request = ParseChatRequest(body + "}", kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->options.ignored_fields.size(), FieldReader::kMostUnread);
}

TEST(ChatRequestTest, ReadsEveryField) {
  const auto request = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"hi"}],"temperature":0,
          "top_p":0.5,"top_k":-1,"min_p":0.25,"seed":-1,"n":2,"stream":true,
          "stream_options":{"include_usage":true},"stop":["a","b"],
          "max_tokens":5,"max_completion_tokens":7,"logprobs":true,
          "top_logprobs":3,"logit_bias":{"7":-100}})",
      kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  const GenerationOptions& options = request->options;
  EXPECT_EQ(options.sampling.temperature, 0);
  EXPECT_EQ(options.sampling.top_p, 0.5f);
  EXPECT_EQ(options.sampling.top_k, 0);
  EXPECT_EQ(options.sampling.min_p, 0.25f);
  EXPECT_EQ(options.sampling.seed, ~uint64_t{0});
  EXPECT_EQ(options.sampling.top_logprobs, 3);
  EXPECT_THAT(options.sampling.logit_bias, ElementsAre(std::pair(7, -100.0f)));
  EXPECT_EQ(options.n, 2u);
  EXPECT_TRUE(options.include_usage);
  EXPECT_THAT(options.stop, ElementsAre("a", "b"));
  EXPECT_EQ(options.max_tokens, 7u);
}

TEST(ChatRequestTest, PartsBecomeText) {
  const auto request = ParseChatRequest(
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},
          {"type":"thinking","thinking":"x"},{"type":"text","text":"b"}]}]})",
      kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request->messages.array()->front().Find("content")->string(),
            "a\nb");
}

TEST(ChatRequestTest, TroubleNamesTheField) {
  EXPECT_EQ(ErrorOf("{}").message, "messages: is missing");
  EXPECT_EQ(ErrorOf(R"({"messages":[]})").param, "messages");
  EXPECT_EQ(ErrorOf(R"({"messages":[{"role":"user"}]})").param,
            "messages[0].content");
  EXPECT_EQ(ErrorOf(R"({"messages":[{"role":"user","content":[
                {"type":"image_url"}]}]})")
                .param,
            "messages[0].content[0].type");
  const std::string head = R"({"messages":[{"role":"user","content":"a"}],)";
  EXPECT_EQ(ErrorOf(head + R"("temperature":"hot"})").message,
            "temperature: must be a number, not a string");
  EXPECT_EQ(ErrorOf(head + R"("n":0})").message,
            "n: must be between 1 and 128, not 0");
  EXPECT_EQ(ErrorOf(head + R"("n":1.5})").message,
            "n: must be an integer, not 1.5");
  EXPECT_EQ(ErrorOf(head + R"("n":99999999999999999999})").message,
            "n: must be between 1 and 128, not 1e+20");
  EXPECT_EQ(ErrorOf(head + R"("logit_bias":{"100":1}})").param, "logit_bias");
  EXPECT_EQ(ErrorOf(head + R"("tools":5})").message,
            "tools: must be a list, not an integer");
  EXPECT_EQ(ErrorOf(head + R"("tools":[5]})").message,
            "tools[0]: must be an object of type 'function'");
  EXPECT_EQ(ErrorOf(head + R"("tools":[{"type":"function"}]})").param,
            "tools[0].function");
  EXPECT_EQ(ErrorOf(head + R"("stop":[1]})").param, "stop");
  EXPECT_EQ(ErrorOf(head + R"("top_logprobs":1})").param, "top_logprobs");
  EXPECT_EQ(ErrorOf(head + R"("max_tokens":0})").param, "max_tokens");
  EXPECT_EQ(ErrorOf(head + R"("max_tokens":5,"min_tokens":6})").message,
            "min_tokens: must not be above max_tokens, 5, but is 6");
  EXPECT_EQ(
      ErrorOf(head + R"("response_format":{"type":"json_object"}})").message,
      "response_format: 'json_object' is not supported yet");
  EXPECT_EQ(ErrorOf(head + R"("tool_choice":"required"})").param,
            "tool_choice");
}

TEST(ChatRequestTest, ABodyThatIsNoObjectIsDescribed) {
  EXPECT_EQ(ErrorOf(" ").message, "the body is empty; send a JSON object");
  EXPECT_EQ(ErrorOf("[1]").message,
            "the body must be a JSON object, not an array");
  EXPECT_EQ(ErrorOf(R"({"messages":[)")
                .message.find("the body cannot be read: JSON at byte "),
            0u);
}

TEST(ChatRequestTest, AnIntegerMayBeWrittenWithAPoint) {
  const auto request = ParseChatRequest(
      R"({"messages":[{"role":"user","content":"a"}],"max_tokens":7.0})",
      kVocabulary);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->options.max_tokens, 7u);
}

// What other servers know and this one does not; the same unasked is nothing.
TEST(ChatRequestTest, WhatWouldChangeTheTextIsNotIgnored) {
  const std::string head = R"({"messages":[{"role":"user","content":"a"}],)";
  for (const char* field :
       {R"("functions":[{"name":"f"}])", R"("grammar":"root ::= x")",
        R"("guided_json":{})", R"("json_schema":{"type":"object"})",
        R"("bad_words":["x"])", R"("stop_token_ids":[2])",
        R"("continue_final_message":true)"}) {
    EXPECT_TRUE(absl::StrContains(ErrorOf(head + field + "}").message,
                                  "is not supported"))
        << field;
  }
  for (const char* field :
       {R"("functions":[])", R"("grammar":"")", R"("guided_json":null)",
        R"("stop_token_ids":[])", R"("continue_final_message":false)",
        R"("response_format":{"type":"text"})"}) {
    EXPECT_TRUE(ParseChatRequest(head + field + "}", kVocabulary).ok())
        << field;
  }
}

TEST(ChatRequestTest, ErrorsHaveAllFourKeys) {
  EXPECT_EQ(ToJson(ErrorOf("{}")),
            R"({"error":{"message":"messages: is missing",)"
            R"("type":"invalid_request_error","param":"messages",)"
            R"("code":null}})");
}

}  // namespace
}  // namespace braid::server
