#include "server/openai/completion_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

constexpr int32_t kVocabulary = 100;

TEST(CompletionRequestTest, TakesEveryFormOfPrompt) {
  const std::vector<std::pair<const char*, std::vector<Prompt>>> cases = {
      {R"({"prompt":"a"})", {"a"}},
      {R"({"prompt":["a","b"]})", {"a", "b"}},
      {R"({"prompt":[1,2]})", {std::vector<TokenId>{1, 2}}},
      {R"({"prompt":[[1],[2,3]]})",
       {std::vector<TokenId>{1}, std::vector<TokenId>{2, 3}}},
  };
  for (const auto& [body, prompts] : cases) {
    const auto request = ParseCompletionRequest(body, kVocabulary);
    ASSERT_TRUE(request.ok()) << body << request.status();
    EXPECT_EQ(request->prompts, prompts) << body;
    EXPECT_EQ(request->options.max_tokens, 16u);
  }
}

TEST(CompletionRequestTest, NoTokensOnlyWithEcho) {
  EXPECT_TRUE(ParseCompletionRequest(
                  R"({"prompt":"a","max_tokens":0,"echo":true,"logprobs":1})",
                  kVocabulary)
                  .ok());
  const auto refused =
      ParseCompletionRequest(R"({"prompt":"a","max_tokens":0})", kVocabulary);
  EXPECT_EQ(ToApiError(refused.status()).param, "max_tokens");
}

TEST(CompletionRequestTest, WhatWouldChangeTheTextIsNotIgnored) {
  for (const char* field :
       {R"("suffix":"x")", R"("grammar":"root ::= x")", R"("guided_json":{})",
        R"("response_format":{"type":"json_object"})"}) {
    const std::string body = absl::StrCat(R"({"prompt":"a",)", field, "}");
    EXPECT_FALSE(ParseCompletionRequest(body, kVocabulary).ok()) << field;
  }
  EXPECT_TRUE(
      ParseCompletionRequest(R"({"prompt":"a","suffix":""})", kVocabulary)
          .ok());
}

TEST(CompletionRequestTest, MinTokensAreNoMoreThanMaxTokens) {
  const auto message = [](const char* body) {
    const auto request = ParseCompletionRequest(body, kVocabulary);
    return request.ok() ? "" : ToApiError(request.status()).message;
  };
  EXPECT_EQ(message(R"({"prompt":"a","min_tokens":16})"), "");
  EXPECT_EQ(message(R"({"prompt":"a","min_tokens":5,"max_tokens":5})"), "");
  EXPECT_EQ(message(R"({"prompt":"a","min_tokens":17})"),
            "min_tokens: must not be above max_tokens, 16, but is 17");
}

TEST(CompletionRequestTest, RefusesWhatIsNoPrompt) {
  for (const char* body :
       {R"({})", R"({"prompt":3})", R"({"prompt":[]})", R"({"prompt":[100]})",
        R"({"prompt":[-1]})", R"({"prompt":[[1],2]})"}) {
    const auto request = ParseCompletionRequest(body, kVocabulary);
    ASSERT_FALSE(request.ok()) << body;
    EXPECT_EQ(ToApiError(request.status()).http_status, 400) << body;
  }
}

}  // namespace
}  // namespace braid::server
