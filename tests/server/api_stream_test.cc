// Streams of the OpenAI API: which chunks come, in which order, and how a
// stream ends.
#include <chrono>
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

// The documents of a stream that ended well, without [DONE].
std::vector<JsonValue> ChunksOf(const ClientResponse& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.Field("Content-Type"), "text/event-stream; charset=utf-8");
  std::vector<std::string> events = EventsOf(response.body);
  EXPECT_FALSE(events.empty());
  if (events.empty()) return {};
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  std::vector<JsonValue> chunks;
  for (const std::string& event : events) {
    auto chunk = ParseJson(event);
    EXPECT_TRUE(chunk.ok()) << event;
    if (chunk.ok()) chunks.push_back(*std::move(chunk));
  }
  return chunks;
}

bool IsNull(const JsonValue* value) {
  return value != nullptr && value->is_null();
}

TEST(ApiStreamTest, ChatChunksAreThoseOfTheSchema) {
  ApiServer server;
  HttpClient client(server.port());
  const auto chunks = ChunksOf(client.Post(
      kChat, R"({"messages":[{"role":"user","content":"abc"}],"stream":true,
                 "seed":3,"max_tokens":9,"ignore_eos":true,
                 "stream_options":{"include_usage":true}})"));
  ASSERT_GE(chunks.size(), 4u);
  const std::string id = TextAt(chunks[0], {"id"});
  EXPECT_TRUE(absl::StartsWith(id, "chatcmpl-"));
  for (const JsonValue& chunk : chunks) {
    EXPECT_EQ(TextAt(chunk, {"id"}), id);
    EXPECT_EQ(TextAt(chunk, {"object"}), "chat.completion.chunk");
    EXPECT_EQ(TextAt(chunk, {"model"}), "fake");
  }
  // The role, alone.
  EXPECT_EQ(TextAt(chunks[0], {"choices", 0, "delta", "role"}), "assistant");
  EXPECT_EQ(TextAt(chunks[0], {"choices", 0, "delta", "content"}), "");
  // Text, without a reason to end.
  std::string text;
  for (size_t i = 0; i + 2 < chunks.size(); ++i) {
    EXPECT_TRUE(IsNull(At(chunks[i], {"choices", 0, "finish_reason"})));
    EXPECT_TRUE(IsNull(At(chunks[i], {"choices", 0, "logprobs"})));
    EXPECT_TRUE(IsNull(At(chunks[i], {"usage"})));
    const std::string delta =
        TextAt(chunks[i], {"choices", 0, "delta", "content"});
    EXPECT_NE(delta, "(none)");
    EXPECT_EQ(delta.empty(), i == 0);
    text += delta;
  }
  EXPECT_EQ(text, server.Answer("abc", 3, 9).text);
  // The reason, alone.
  const JsonValue& last = chunks[chunks.size() - 2];
  EXPECT_EQ(TextAt(last, {"choices", 0, "finish_reason"}), "length");
  EXPECT_EQ(ToJson(*At(last, {"choices", 0, "delta"})), "{}");
  EXPECT_TRUE(IsNull(At(last, {"usage"})));
  // The usage, without a choice.
  EXPECT_EQ(ToJson(*At(chunks.back(), {"choices"})), "[]");
  EXPECT_EQ(ToJson(*At(chunks.back(), {"usage"})),
            R"({"prompt_tokens":3,"completion_tokens":9,"total_tokens":12,)"
            R"("prompt_tokens_details":{"cached_tokens":0}})");
}

TEST(ApiStreamTest, NoUsageUnlessAskedFor) {
  ApiServer server;
  HttpClient client(server.port());
  const auto chunks = ChunksOf(client.Post(
      kChat, R"({"messages":[{"role":"user","content":"abc"}],"stream":true,
                 "max_tokens":2,"ignore_eos":true})"));
  for (const JsonValue& chunk : chunks) {
    EXPECT_EQ(At(chunk, {"usage"}), nullptr);
    EXPECT_EQ(At(chunk, {"choices"})->array()->size(), 1u);
  }
  EXPECT_EQ(TextAt(chunks.back(), {"choices", 0, "finish_reason"}), "length");
}

TEST(ApiStreamTest, EveryChoiceIsAStreamOfItsOwn) {
  ApiServer server;
  HttpClient client(server.port());
  const auto chunks = ChunksOf(client.Post(
      kChat, R"({"messages":[{"role":"user","content":"abcd"}],"stream":true,
                 "n":3,"seed":5,"max_tokens":20,"ignore_eos":true})"));
  std::vector<std::string> texts(3);
  std::vector<int> chunks_of(3), ends(3);
  for (const JsonValue& chunk : chunks) {
    const auto index =
        static_cast<size_t>(IntegerAt(chunk, {"choices", 0, "index"}));
    ASSERT_LT(index, 3u);
    EXPECT_EQ(ends[index], 0) << "a chunk after the last";
    const bool first = chunks_of[index]++ == 0;
    EXPECT_EQ(At(chunk, {"choices", 0, "delta", "role"}) != nullptr, first);
    if (!IsNull(At(chunk, {"choices", 0, "finish_reason"}))) {
      ++ends[index];
    } else {
      texts[index] += TextAt(chunk, {"choices", 0, "delta", "content"});
    }
  }
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(texts[i], server.Answer("abcd", 5 + i, 20).text);
    EXPECT_EQ(ends[i], 1);
  }
  EXPECT_NE(texts[0], texts[1]);
}

TEST(ApiStreamTest, LogprobsAreOfEveryTokenOnce) {
  ApiServer server;
  HttpClient client(server.port());
  const auto chunks = ChunksOf(client.Post(
      kChat, R"({"messages":[{"role":"user","content":"abcd"}],"stream":true,
                 "seed":5,"max_tokens":20,"ignore_eos":true,"logprobs":true,
                 "top_logprobs":2})"));
  std::string text, tokens;
  size_t count = 0;
  for (const JsonValue& chunk : chunks) {
    const JsonValue* content = At(chunk, {"choices", 0, "logprobs", "content"});
    if (content == nullptr) continue;
    text += TextAt(chunk, {"choices", 0, "delta", "content"});
    for (const JsonValue& token : *content->array()) {
      ++count;
      if (TextAt(token, {"token"}) != "<end>") {
        tokens += TextAt(token, {"token"});
      }
      EXPECT_EQ(At(token, {"top_logprobs"})->array()->size(), 2u);
    }
  }
  EXPECT_EQ(count, 20u);
  EXPECT_EQ(text, tokens);
  EXPECT_EQ(text, server.Answer("abcd", 5, 20).text);
}

TEST(ApiStreamTest, CompletionsHaveTextAndNoRole) {
  ApiServer server;
  HttpClient client(server.port());
  const auto chunks = ChunksOf(client.Post(
      kText, R"({"prompt":"abc","stream":true,"seed":3,"max_tokens":9,
                 "ignore_eos":true,"echo":true,"logprobs":1})"));
  std::string text;
  size_t tokens = 0;
  for (const JsonValue& chunk : chunks) {
    EXPECT_EQ(TextAt(chunk, {"object"}), "text_completion");
    EXPECT_EQ(At(chunk, {"choices", 0, "delta"}), nullptr);
    text += TextAt(chunk, {"choices", 0, "text"});
    const JsonValue* list =
        At(chunk, {"choices", 0, "logprobs", "text_offset"});
    if (list != nullptr) tokens += list->array()->size();
  }
  EXPECT_EQ(text, "abc" + server.Answer("abc", 3, 9).text);
  EXPECT_EQ(tokens, 3u + 9u);
  EXPECT_TRUE(
      IsNull(At(chunks[0], {"choices", 0, "logprobs", "token_logprobs", 0})));
  EXPECT_EQ(TextAt(chunks.back(), {"choices", 0, "finish_reason"}), "length");
}

TEST(ApiStreamTest, FailureIsOneEventAndTheEnd) {
  ApiServer server;
  server.gate().Close();
  HttpClient client(server.port());
  client.SendRequest(
      "POST", kChat,
      R"({"messages":[{"role":"user","content":"abc"}],"stream":true,
          "max_tokens":50,"ignore_eos":true})");
  // The head comes with the role and what the first step has made.
  server.gate().Pass(1);
  EXPECT_EQ(client.ReceiveHead().status, 200);
  std::string body = *client.ReceiveChunk();
  server.gate().Pass(1);
  body += *client.ReceiveChunk();
  server.gate().FailNext(absl::InternalError("a secret of the machine"));
  server.gate().Open();
  while (auto chunk = client.ReceiveChunk()) body += *chunk;
  const std::vector<std::string> events = EventsOf(body);
  ASSERT_GE(events.size(), 3u);
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_FALSE(absl::StrContains(events[i], "error")) << events[i];
  }
  EXPECT_EQ(events.back(),
            R"({"error":{"message":"internal error; the server's log says )"
            R"(more","type":"internal_error","param":null,"code":null}})");
  EXPECT_TRUE(server.WaitFor([](const EngineStats& stats) {
    return Finished(stats, FinishReason::kFailed) == 1;
  }));
}

TEST(ApiStreamTest, FailureOfOneChoiceEndsTheOthers) {
  ApiServerOptions options;
  options.engine.max_rows = 4;  // A step has room for the first prompt alone.
  ApiServer server(options);
  server.gate().Close();
  server.gate().FailNext(absl::InternalError("broken"));
  HttpClient client(server.port());
  client.SendRequest("POST", kText,
                     R"({"prompt":["abcd","dcba"],"stream":true,
                         "max_tokens":200,"ignore_eos":true})");
  EXPECT_TRUE(server.WaitFor([](const EngineStats& stats) {
    return stats.requests_received == 2 && stats.prefilling > 0;
  }));
  // Nothing has been said yet, nor can the other: it is no stream.
  server.gate().Pass(1);
  const ClientResponse failed = client.Receive();
  EXPECT_EQ(failed.status, 500);
  EXPECT_TRUE(absl::StrContains(failed.body, "internal_error"));
  server.gate().Open();
  EXPECT_TRUE(server.WaitFor([](const EngineStats& stats) {
    return stats.requests_finished[0] + stats.requests_finished[1] +
               Finished(stats, FinishReason::kFailed) +
               Finished(stats, FinishReason::kCancelled) ==
           2;
  }));
}

TEST(ApiStreamTest, PingsWhileNothingComes) {
  ApiServerOptions options;
  options.limits.ping_interval = std::chrono::milliseconds(10);
  options.limits.head_patience = std::chrono::milliseconds(10);
  ApiServer server(options);
  server.gate().Close();
  HttpClient client(server.port());
  client.SendRequest(
      "POST", kChat,
      R"({"messages":[{"role":"user","content":"abc"}],"stream":true,
          "seed":1,"max_tokens":5,"ignore_eos":true})");
  EXPECT_EQ(client.ReceiveHead().status, 200);
  std::string body;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*client.ReceiveChunk(), ":\n\n");
  server.gate().Open();
  while (auto chunk = client.ReceiveChunk()) body += *chunk;
  EXPECT_EQ(EventsOf(body).back(), "[DONE]");
}

TEST(ApiStreamTest, Http10IsClosedAtTheEnd) {
  ApiServer server;
  HttpClient client(server.port());
  const std::string body =
      R"({"prompt":"a","stream":true,"max_tokens":3,"ignore_eos":true})";
  client.Send(absl::StrCat("POST ", kText, " HTTP/1.0\r\nContent-Length: ",
                           body.size(), "\r\n\r\n", body));
  const std::string answer = client.ReceiveAll();
  EXPECT_FALSE(absl::StrContains(answer, "chunked"));
  const size_t head = answer.find("\r\n\r\n");
  ASSERT_NE(head, std::string::npos);
  EXPECT_EQ(EventsOf(answer.substr(head + 4)).back(), "[DONE]");
}

}  // namespace
}  // namespace braid::server
