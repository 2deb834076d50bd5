// Whole answers of the OpenAI API, and what it refuses.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/api_server.h"

namespace braid::server {
namespace {

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kText[] = "/v1/completions";

class ApiAnswerTest : public ::testing::Test {
 protected:
  JsonValue Post(std::string_view path, std::string_view body,
                 int status = 200) {
    const ClientResponse response = client_.Post(path, body);
    EXPECT_EQ(response.status, status) << body << " -> " << response.body;
    return response.json();
  }
  uint64_t received() { return server_.engine().Snapshot().requests_received; }

  ApiServer server_;
  HttpClient client_{server_.port()};
};

TEST_F(ApiAnswerTest, Chat) {
  const JsonValue answer =
      Post(kChat, R"({"messages":[{"role":"user","content":"ab"},
                     {"role":"user","content":"c"}],
                     "seed":3,"max_tokens":9,"ignore_eos":true})");
  EXPECT_EQ(TextAt(answer, {"object"}), "chat.completion");
  EXPECT_EQ(TextAt(answer, {"choices", 0, "message", "role"}), "assistant");
  EXPECT_EQ(TextAt(answer, {"choices", 0, "message", "content"}),
            server_.Answer("abc", 3, 9).text);
  EXPECT_TRUE(At(answer, {"choices", 0, "message", "refusal"})->is_null());
  EXPECT_TRUE(At(answer, {"choices", 0, "logprobs"})->is_null());
  EXPECT_EQ(TextAt(answer, {"choices", 0, "finish_reason"}), "length");
  EXPECT_EQ(IntegerAt(answer, {"usage", "prompt_tokens"}), 3);
  EXPECT_EQ(IntegerAt(answer, {"usage", "completion_tokens"}), 9);
}

TEST_F(ApiAnswerTest, ChoicesHaveSeedsOfTheirOwnAndOnePrompt) {
  const JsonValue answer =
      Post(kChat, R"({"messages":[{"role":"user","content":"abcd"}],"n":4,
                     "seed":3,"max_tokens":20,"ignore_eos":true})");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(IntegerAt(answer, {"choices", i, "index"}), i);
    EXPECT_EQ(TextAt(answer, {"choices", i, "message", "content"}),
              server_.Answer("abcd", 3 + static_cast<uint64_t>(i), 20).text);
  }
  EXPECT_EQ(IntegerAt(answer, {"usage", "prompt_tokens"}), 4);
  EXPECT_EQ(IntegerAt(answer, {"usage", "completion_tokens"}), 80);
}

TEST_F(ApiAnswerTest, CompletionsTakePromptsOfEveryForm) {
  const JsonValue answer =
      Post(kText, R"({"prompt":["abcd","bbb"],"n":2,"seed":3,"max_tokens":5,
                     "ignore_eos":true})");
  const char* const prompts[] = {"abcd", "abcd", "bbb", "bbb"};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(IntegerAt(answer, {"choices", i, "index"}), i);
    EXPECT_EQ(
        TextAt(answer, {"choices", i, "text"}),
        server_.Answer(prompts[i], 3 + static_cast<uint64_t>(i % 2), 5).text);
  }
  EXPECT_EQ(IntegerAt(answer, {"usage", "prompt_tokens"}), 7);
  const JsonValue of_ids =
      Post(kText, R"({"prompt":[1,2,3,4],"seed":3,"max_tokens":5,
                     "ignore_eos":true})");
  EXPECT_EQ(TextAt(of_ids, {"choices", 0, "text"}),
            TextAt(answer, {"choices", 0, "text"}));
}

// What lm-eval asks to score a text.
TEST_F(ApiAnswerTest, EchoScoresThePrompt) {
  const JsonValue answer =
      Post(kText, R"({"prompt":[1,2,3],"max_tokens":0,"echo":true,
                     "logprobs":1,"temperature":0})");
  EXPECT_EQ(TextAt(answer, {"choices", 0, "text"}), "abc");
  const JsonValue* logprobs = At(answer, {"choices", 0, "logprobs"});
  ASSERT_NE(logprobs, nullptr);
  EXPECT_EQ(ToJson(*logprobs->Find("tokens")), R"(["a","b","c"])");
  EXPECT_EQ(ToJson(*logprobs->Find("text_offset")), "[0,1,2]");
  EXPECT_TRUE(At(*logprobs, {"token_logprobs", 0})->is_null());
  EXPECT_TRUE(At(*logprobs, {"top_logprobs", 0})->is_null());
  const std::vector<TokenId> ids = {1, 2, 3};
  for (size_t i = 1; i < ids.size(); ++i) {
    const SampledToken score =
        FakeRunner::ScoreOf(std::span(ids).first(i), ids[i], 1);
    EXPECT_FLOAT_EQ(
        static_cast<float>(
            *At(*logprobs, {"token_logprobs", static_cast<int>(i)})->real()),
        score.logprob);
  }
  EXPECT_EQ(IntegerAt(answer, {"usage", "completion_tokens"}), 0);
}

// It is all prompt that has no logprob, and is told all the same.
TEST_F(ApiAnswerTest, EchoTellsOfAPromptOfOneToken) {
  const JsonValue answer =
      Post(kText, R"({"prompt":[2],"max_tokens":1,"echo":true,"logprobs":1,
                     "temperature":0,"ignore_eos":true})");
  const JsonValue* logprobs = At(answer, {"choices", 0, "logprobs"});
  ASSERT_NE(logprobs, nullptr);
  EXPECT_EQ(logprobs->Find("tokens")->array()->size(), 2u);
  EXPECT_EQ(TextAt(*logprobs, {"tokens", 0}), "b");
  EXPECT_TRUE(At(*logprobs, {"token_logprobs", 0})->is_null());
  EXPECT_FALSE(At(*logprobs, {"token_logprobs", 1})->is_null());
  EXPECT_EQ(ToJson(*logprobs->Find("text_offset")), "[0,1]");
}

TEST_F(ApiAnswerTest, TimingsAddUp) {
  const JsonValue answer =
      Post(kText, R"({"prompt":"abc","max_tokens":5,"ignore_eos":true,
                     "return_timings":true})");
  const auto number = [&](const char* key) {
    const JsonValue* value = At(answer, {"timings", key});
    if (value == nullptr) return -1.0;
    return value->real() != nullptr ? *value->real()
                                    : static_cast<double>(*value->integer());
  };
  EXPECT_GT(number("total_ms"), 0);
  EXPECT_NEAR(number("queue_ms") + number("prefill_ms") +
                  number("transfer_ms") + number("decode_ms"),
              number("total_ms"), 0.005);
}

TEST_F(ApiAnswerTest, TokenIdsOutsideTheVocabularyAreRefused) {
  const int32_t vocabulary = FakeTokenizer().vocabulary();
  for (const std::string& id :
       {std::string("-1"), absl::StrCat(vocabulary), std::string("2147483648"),
        std::string("-9223372036854775808"), std::string("1e30"),
        std::string("1.5"), std::string("null"), std::string("\"1\"")}) {
    const JsonValue alone =
        Post(kText, absl::StrCat(R"({"prompt":[1,)", id, "]}"), 400);
    EXPECT_EQ(TextAt(alone, {"error", "param"}), "prompt");
    const JsonValue listed =
        Post(kText, absl::StrCat(R"({"prompt":[[1],[1,)", id, "]]}"), 400);
    EXPECT_EQ(TextAt(listed, {"error", "param"}), "prompt[1]");
    const JsonValue text =
        Post("/detokenize", absl::StrCat(R"({"tokens":[)", id, "]}"), 400);
    EXPECT_EQ(TextAt(text, {"error", "param"}), "tokens");
    const std::string key =
        id.front() == '"' ? "x" : id;  // "1" is a good key for a bias.
    const JsonValue bias = Post(
        kText,
        absl::StrCat(R"({"prompt":"a","logit_bias":{")", key, R"(":1}})"), 400);
    EXPECT_EQ(TextAt(bias, {"error", "param"}), "logit_bias");
  }
  EXPECT_EQ(received(), 0u);
}

TEST_F(ApiAnswerTest, TooLongIsRefused) {
  for (const char* body :
       {R"({"prompt":"abc","max_tokens":254})",
        R"({"prompt":"abc","max_tokens":1000000000})",
        R"({"prompt":["abc","abc"],"n":2,"max_tokens":254})"}) {
    EXPECT_EQ(TextAt(Post(kText, body, 400), {"error", "code"}),
              "context_length_exceeded");
  }
  EXPECT_EQ(received(), 0u);
}

// 'z' has no token: encoding megabytes of it would end with no tokens at all,
// and another error. It is the bytes that are too many.
TEST_F(ApiAnswerTest, FarTooLongIsRefusedBeforeItIsEncoded) {
  const std::string text(4 << 20, 'z');
  const std::string bodies[][2] = {
      {kText, absl::StrCat(R"({"prompt":")", text, "\"}")},
      {kText, absl::StrCat(R"({"prompt":["a",")", text, "\"]}")},
      {kChat, absl::StrCat(R"({"messages":[{"role":"user","content":")", text,
                           "\"}]}")},
      {"/tokenize", absl::StrCat(R"({"prompt":")", text, "\"}")}};
  for (const auto& [path, body] : bodies) {
    const JsonValue error = Post(path, body, 400);
    EXPECT_EQ(TextAt(error, {"error", "code"}), "context_length_exceeded");
    EXPECT_TRUE(absl::StrContains(TextAt(error, {"error", "message"}), "bytes"))
        << ToJson(error);
  }
  const JsonValue empty = Post(kText, R"({"prompt":"zzz"})", 400);
  EXPECT_EQ(TextAt(empty, {"error", "param"}), "prompt");
}

TEST_F(ApiAnswerTest, TokenizeAndBack) {
  EXPECT_EQ(ToJson(Post("/tokenize", R"({"prompt":"ab c"})")),
            R"({"count":4,"max_model_len":256,"tokens":[1,2,0,3]})");
  EXPECT_EQ(IntegerAt(Post("/tokenize",
                           R"({"messages":[{"role":"user","content":"ab"}],
                               "logit_bias":{"3":1}})"),
                      {"count"}),
            2);
  EXPECT_EQ(ToJson(Post("/detokenize", R"({"tokens":[1,2,0,3]})")),
            R"({"prompt":"ab c","content":"ab c"})");
  EXPECT_EQ(TextAt(Post("/detokenize", R"({"tokens":[]})"), {"prompt"}), "");
  std::string many = "1";
  for (int i = 0; i < 256; ++i) many += ",1";
  EXPECT_EQ(TextAt(Post("/detokenize",
                        absl::StrCat(R"({"tokens":[)", many, "]}"), 400),
                   {"error", "code"}),
            "context_length_exceeded");
  for (const char* body : {"[]", "3", "{}", R"({"prompt":3})", "{"}) {
    Post("/tokenize", body, 400);
    Post("/detokenize", body, 400);
  }
}

// Under the names of vLLM and of llama-server.
TEST_F(ApiAnswerTest, TokensAsText) {
  const JsonValue both =
      Post("/tokenize",
           R"({"prompt":"ab","return_token_strs":true,"with_pieces":true})");
  const std::vector<TokenId> ids = FakeTokens("ab");
  for (int i = 0; i < 2; ++i) {
    const std::string text(1, "ab"[i]);
    EXPECT_EQ(TextAt(both, {"token_strs", i}), text);
    EXPECT_EQ(TextAt(both, {"tokens", i, "piece"}), text);
    EXPECT_EQ(IntegerAt(both, {"tokens", i, "id"}),
              ids[static_cast<size_t>(i)]);
  }
}

TEST_F(ApiAnswerTest, TheTemplateIsApplied) {
  EXPECT_EQ(TextAt(Post("/apply-template",
                        R"({"messages":[{"role":"user","content":"ab"},
                                        {"role":"user","content":"c"}]})"),
                   {"prompt"}),
            "abc");
  EXPECT_EQ(TextAt(Post("/apply-template", R"({"messages":[]})", 400),
                   {"error", "param"}),
            "messages");
  Post("/apply-template",
       R"({"messages":[{"role":"user","content":"a"}],"model":"other"})", 404);
}

// What lm-eval's remote tokenizer and others that render themselves need.
TEST_F(ApiAnswerTest, TokenizerInfo) {
  const JsonValue info = client_.Get("/tokenizer_info").json();
  const TokenizerSpec spec = FakeTokenizer().spec();
  EXPECT_EQ(IntegerAt(info, {"vocab_size"}),
            static_cast<int64_t>(spec.tokens.size()));
  EXPECT_EQ(IntegerAt(info, {"model_max_length"}), 256);
  EXPECT_EQ(TextAt(info, {"eos_token"}),
            spec.eos ? spec.tokens[static_cast<size_t>(*spec.eos)] : "(none)");
  EXPECT_EQ(TextAt(info, {"chat_template"}),
            "{% for message in messages %}{{ message.content }}{% endfor %}");
}

TEST_F(ApiAnswerTest, Models) {
  const ClientResponse list = client_.Get("/v1/models");
  EXPECT_EQ(list.body,
            R"({"object":"list","data":[{"id":"fake","object":"model",)"
            R"("created":1,"owned_by":"braid","max_model_len":256}]})");
  EXPECT_EQ(client_.Get("/v1/models/fake").status, 200);
  EXPECT_EQ(client_.Get("/v1/models/other").status, 404);
  EXPECT_EQ(TextAt(Post(kText, R"({"prompt":"a","model":"other"})", 404),
                   {"error", "code"}),
            "model_not_found");
}

TEST_F(ApiAnswerTest, FieldsWithoutEffectAreTold) {
  const char* prompts[] = {
      R"({"prompt":"a","max_token":3,"user":"u"})",
      R"({"prompt":"a","user":"v","stream":true})",
  };
  EXPECT_EQ(client_.Post(kText, prompts[0]).Field("x-ignored-fields"),
            "max_token, user");
  EXPECT_EQ(client_.Post(kText, prompts[1]).Field("x-ignored-fields"), "user");
  EXPECT_EQ(client_.Post(kText, R"({"prompt":"a"})").Field("x-ignored-fields"),
            "");
  Post(kChat, R"({"messages":[{"role":"user","content":"a"}],"prompt":"b",
                 "max_tokens":3})");
  const std::string metrics = client_.Get("/metrics").body;
  for (const char* line : {"{field=\"user\"} 2", "{field=\"max_token\"} 1",
                           "{field=\"prompt\"} 1"}) {
    EXPECT_TRUE(absl::StrContains(
        metrics, absl::StrCat("\nbraid_ignored_fields_total", line, "\n")))
        << line;
  }
}

TEST_F(ApiAnswerTest, ToolsThatTheTemplateLeavesOutAreTold) {
  const ClientResponse response = client_.Post(
      kChat, R"({"messages":[{"role":"user","content":"a"}],"max_tokens":3,
                 "tools":[{"type":"function","function":{"name":"f"}}]})");
  EXPECT_EQ(response.Field("x-ignored-fields"), "tools");
}

TEST_F(ApiAnswerTest, DeadlineIsObeyed) {
  server_.gate().Close();
  client_.SendRequest("POST", kText, R"({"prompt":"abc"})",
                      "x-request-timeout-ms: 5\r\n");
  EXPECT_EQ(client_.Receive().status, 504);
  client_.SendRequest("POST", kText, R"({"prompt":"abc"})",
                      "x-request-timeout-ms: soon\r\n");
  EXPECT_EQ(client_.Receive().status, 400);
  server_.gate().Open();
}

TEST_F(ApiAnswerTest, FailureOfTheMachineShowsNoDetails) {
  server_.gate().FailNext(absl::InternalError("a secret of the machine"));
  const JsonValue error = Post(kText, R"({"prompt":"abc"})", 500);
  EXPECT_EQ(TextAt(error, {"error", "type"}), "internal_error");
  EXPECT_FALSE(absl::StrContains(ToJson(error), "secret"));
  Post(kText, R"({"prompt":"abc"})");  // The next one is served.
}

TEST_F(ApiAnswerTest, RequestIdComesBack) {
  client_.SendRequest("GET", "/v1/models", "", "X-Request-Id: mine-7\r\n");
  EXPECT_EQ(client_.Receive().Field("x-request-id"), "mine-7");
  client_.SendRequest("GET", "/v1/models", "", "X-Request-Id: a b\r\n");
  EXPECT_EQ(client_.Receive().Field("x-request-id").size(), 32u);
}

}  // namespace
}  // namespace braid::server
