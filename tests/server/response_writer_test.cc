// The writers of chat and text completions: exact JSON, and JSON at all.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/check.h"
#include "model/json_value.h"
#include "server/openai/chat_response.h"
#include "server/openai/completion_response.h"

namespace braid::server {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// "a", a quotation mark, half of a character, a control token, a space.
const Tokenizer& TinyTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    TokenizerSpec spec;
    // U+00C3 stands for the byte C3, U+0120 for a space.
    spec.tokens = {"a", "\"", "\u00c3", "<end>", "\u0120"};
    spec.kinds.assign(spec.tokens.size(), TokenKind::kNormal);
    spec.kinds[3] = TokenKind::kControl;
    auto created = Tokenizer::Create(std::move(spec));
    BRAID_CHECK_MSG(created.ok(), created.status().ToString());
    return created->release();
  }();
  return *tokenizer;
}

GenerationOptions WithLogprobs(int32_t top) {
  GenerationOptions options;
  options.sampling.top_logprobs = top;
  return options;
}

const ResponseHead kHead = {"x-1", "m\"1", 7};

// The document of a chunk "data: {..}\n\n".
JsonValue Document(std::string_view event) {
  EXPECT_TRUE(event.starts_with("data: ") && event.ends_with("\n\n")) << event;
  auto value = ParseJson(event.substr(6));
  EXPECT_TRUE(value.ok()) << value.status() << ": " << event;
  return value.ok() ? *value : JsonValue();
}

TEST(ResponsePartsTest, LogprobsAreAlwaysNumbers) {
  const auto text = [](float logprob) {
    std::string out;
    AppendLogprob(logprob, out);
    return out;
  };
  EXPECT_EQ(text(-kInfinity), "-9999.0");
  EXPECT_EQ(text(std::nanf("")), "-9999.0");
  EXPECT_EQ(text(-0.25f), "-0.25");
  EXPECT_EQ(text(0), "0");
  for (const float logprob : {-0.1f, -1e-20f, -123.456f, -3e38f}) {
    const auto value = ParseJson(text(logprob));
    ASSERT_TRUE(value.ok()) << text(logprob);
    EXPECT_EQ(std::stof(text(logprob)), logprob);
  }
}

TEST(ResponsePartsTest, StringsSurviveAnyBytes) {
  std::string out;
  AppendJsonString(absl::string_view("a\"\\\n\x01\0\xc3", 7), out);
  EXPECT_EQ(*ParseJson(out)->string(),
            std::string("a\"\\\n\x01\0\xef\xbf\xbd", 9));
}

TEST(ResponsePartsTest, StagesAddUp) {
  using std::chrono::microseconds;
  Outcome outcome;
  const TimePoint begin{};
  outcome.times = {
      .received = begin,
      .finished = begin + microseconds(11000),
      .first_token = begin + microseconds(4000),
      .spent = {microseconds(1500), microseconds(500), microseconds(2000),
                microseconds(1000), microseconds(250), microseconds(5750)}};
  outcome.id = RequestId(17);
  outcome.split = true;
  outcome.preempted = 1;
  outcome.placement = {.prefill = "cpu:0",
                       .decode = "cpu:1",
                       .reason = "split-faster",
                       .predicted_ttft = 0.0055};
  std::string out;
  AppendTimings(outcome, out);
  EXPECT_EQ(
      out,
      R"({"request":17,"queue_ms":1.500,"prefill_wait_ms":0.500,"prefill_ms":2.000,)"
      R"("transfer_ms":1.000,"decode_wait_ms":0.250,"decode_ms":5.750,)"
      R"("total_ms":11.000,"time_to_first_token_ms":4.000,)"
      R"("predicted_time_to_first_token_ms":5.500,"split":true,)"
      R"("placement":{"prefill":"cpu:0","decode":"cpu:1",)"
      R"("reason":"split-faster"},"preempted":1,"recomputed":0})");
}

TEST(ChatResponseTest, Events) {
  GenerationOptions options;
  options.include_usage = true;
  ChatResponseWriter writer(&TinyTokenizer(), kHead, options);
  const std::string head = R"(data: {"id":"x-1","created":7,"model":"m\"1",)"
                           R"("object":"chat.completion.chunk","choices":[)";
  std::string out;
  writer.Begin(1, out);
  EXPECT_EQ(out, head +
                     R"({"index":1,"delta":{"role":"assistant","content":""},)"
                     R"("logprobs":null,"finish_reason":null}],"usage":null})"
                     "\n\n");
  out.clear();
  writer.Delta(0, {"a\"", {}, {}}, out);
  EXPECT_EQ(out, head +
                     R"({"index":0,"delta":{"content":"a\""},)"
                     R"("logprobs":null,"finish_reason":null}],"usage":null})"
                     "\n\n");
  out.clear();
  writer.Finish(0, FinishReason::kStop, out);
  EXPECT_EQ(out, head + R"({"index":0,"delta":{},"logprobs":null,)"
                        R"("finish_reason":"stop"}],"usage":null})"
                        "\n\n");
  out.clear();
  writer.FinalUsage(
      {.prompt_tokens = 3, .cached_tokens = 2, .output_tokens = 4},
      R"({"total_ms":1})", out);
  EXPECT_EQ(out, head + R"(],"usage":{"prompt_tokens":3,"completion_tokens":4,)"
                        R"("total_tokens":7,"prompt_tokens_details":)"
                        R"({"cached_tokens":2}},"timings":{"total_ms":1}})"
                        "\n\n");
  Document(out);
}

TEST(ChatResponseTest, NothingToSayIsNoEvent) {
  ChatResponseWriter plain(&TinyTokenizer(), kHead, {});
  const std::vector<SampledToken> tokens = {{.token = 2, .logprob = -1}};
  std::string out;
  plain.Delta(0, {"", tokens, {}}, out);
  EXPECT_EQ(out, "");
  // Logprobs of a token whose text is held back are something.
  ChatResponseWriter scored(&TinyTokenizer(), kHead, WithLogprobs(0));
  scored.Delta(0, {"", tokens, {}}, out);
  EXPECT_NE(out, "");
  Document(out);
}

TEST(ChatResponseTest, WholeWithLogprobs) {
  ChatResponseWriter writer(&TinyTokenizer(), kHead, WithLogprobs(1));
  const std::vector<ChoiceResult> choices = {
      {.text = "a",
       .tokens = {{.token = 2,
                   .logprob = -kInfinity,
                   .top = {{.token = 1, .logprob = -0.5f},
                           {.token = 0, .logprob = -2}}}},
       .reason = FinishReason::kLength}};
  const std::string out = writer.Whole(choices, {}, "");
  EXPECT_EQ(
      out,
      R"({"id":"x-1","created":7,"model":"m\"1","object":"chat.completion",)"
      R"("choices":[{"index":0,"message":{"role":"assistant","content":"a",)"
      R"("refusal":null},"logprobs":{"content":[{"token":")"
      "\xef\xbf\xbd"
      R"(","logprob":-9999.0,"bytes":[195],"top_logprobs":[{"token":"\"",)"
      R"("logprob":-0.5,"bytes":[34]}]}],"refusal":null},)"
      R"("finish_reason":"length"}],"usage":{"prompt_tokens":0,)"
      R"("completion_tokens":0,"total_tokens":0,"prompt_tokens_details":)"
      R"({"cached_tokens":0}}})");
  EXPECT_TRUE(ParseJson(out).ok());
}

TEST(ResponsePartsTest, StreamsOfTheWholeAnswer) {
  std::string out;
  AppendUsage({.prompt_tokens = 1, .output_tokens = 3, .mean_streams = 3.25},
              out);
  EXPECT_EQ(out, R"({"prompt_tokens":1,"completion_tokens":3,)"
                 R"("total_tokens":4,"prompt_tokens_details":)"
                 R"({"cached_tokens":0},"parscale":{"mean":3.25}})");
}

TEST(ResponsePartsTest, SelfCertaintyOfEachCandidate) {
  std::string out;
  AppendUsage({.best_of = BestOfUsage{.asked = 3,
                                      .complete = 2,
                                      .chosen = 2,
                                      .candidate_tokens = 50,
                                      .self_certainty = {11.25, {}, 12.5}}},
              out);
  EXPECT_EQ(out, R"({"prompt_tokens":0,"completion_tokens":0,)"
                 R"("total_tokens":0,"prompt_tokens_details":)"
                 R"({"cached_tokens":0},"best_of":{"asked":3,"complete":2,)"
                 R"("chosen":2,"candidate_tokens":50,)"
                 R"("self_certainty":[11.25,null,12.5]}})");
}

// In both kinds, streamed and whole.
TEST(ResponsePartsTest, StreamsOfEachToken) {
  GenerationOptions options;
  options.parscale.per_token = true;
  ChatResponseWriter chat(&TinyTokenizer(), kHead, options);
  CompletionResponseWriter text(&TinyTokenizer(), kHead, options, 1);
  const std::vector<SampledToken> tokens = {{.token = 0}, {.token = 2}};
  const std::vector<uint32_t> streams = {1, 4};
  const std::vector<ChoiceResult> whole = {
      {.text = "a", .tokens = tokens, .streams = streams}};
  const auto check = [&](auto& writer) {
    std::string out;
    // The second token shows nothing yet, and has streams all the same.
    writer.Delta(0, {"", std::span(tokens).last(1), std::span(streams).last(1)},
                 out);
    const JsonValue event = Document(out);
    EXPECT_EQ(ToJson(*event.Find("choices")->array()->front().Find(
                  "parscale_streams")),
              "[4]");
    const auto answer = ParseJson(writer.Whole(whole, {}, ""));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(ToJson(*answer->Find("choices")->array()->front().Find(
                  "parscale_streams")),
              "[1,4]");
  };
  check(chat);
  check(text);
}

TEST(CompletionResponseTest, EchoLeadsTextAndLogprobs) {
  CompletionResponseWriter writer(&TinyTokenizer(), kHead, WithLogprobs(1), 1);
  writer.Echo(0, {.text = "aa",
                  .tokens = {{.token = 0}, {.token = 0, .logprob = -1}},
                  .unscored = 1});
  const std::vector<ChoiceResult> choices = {
      {.text = "\"", .tokens = {{.token = 1, .logprob = -2}}}};
  EXPECT_EQ(writer.Whole(choices, {.prompt_tokens = 2, .output_tokens = 1}, ""),
            R"({"id":"x-1","object":"text_completion","created":7,)"
            R"("model":"m\"1","choices":[{"index":0,"text":"aa\"",)"
            R"("logprobs":{"tokens":["a","a","\""],)"
            R"("token_logprobs":[null,-1,-2],"top_logprobs":[null,{},{}],)"
            R"("text_offset":[0,1,2]},"finish_reason":"stop"}],)"
            R"("usage":{"prompt_tokens":2,"completion_tokens":1,)"
            R"("total_tokens":3,"prompt_tokens_details":)"
            R"({"cached_tokens":0}}})");
}

TEST(CompletionResponseTest, OffsetsGoOnFromEventToEvent) {
  CompletionResponseWriter writer(&TinyTokenizer(), kHead, WithLogprobs(0), 2);
  std::string nothing;
  writer.Begin(0, nothing);
  EXPECT_EQ(nothing, "");  // Without echo a stream begins with its text.
  for (int i = 0; i < 3; ++i) {
    std::string out;
    const std::vector<SampledToken> tokens = {{.token = 0}};
    writer.Delta(1, {"a", tokens, {}}, out);
    const JsonValue event = Document(out);
    const JsonValue& choice = event.Find("choices")->array()->front();
    EXPECT_EQ(*choice.Find("index")->integer(), 1);
    EXPECT_EQ(*choice.Find("text")->string(), "a");
    EXPECT_TRUE(choice.Find("finish_reason")->is_null());
    EXPECT_EQ(ToJson(*choice.Find("logprobs")->Find("text_offset")),
              "[" + std::to_string(i) + "]");
  }
}

}  // namespace
}  // namespace braid::server
