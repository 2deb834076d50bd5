// Any bytes as the body of a chat, completion or tokenisation request: what the
// pure parsers let through keeps what they promise, and every refusal is an
// error object that a client can read.

#include <cstdint>
#include <string_view>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "model/json_value.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

constexpr int32_t kVocabulary = 1000;

bool Within(double value, double min, double max) {
  return value >= min && value <= max;  // false for NaN
}

void CheckOptions(const GenerationOptions& options) {
  const SamplingParams& sampling = options.sampling;
  BRAID_CHECK(Within(sampling.temperature, 0, 2));
  BRAID_CHECK(Within(sampling.top_p, 0, 1));
  BRAID_CHECK(Within(sampling.min_p, 0, 1));
  BRAID_CHECK(Within(sampling.repetition_penalty, 0.0099, 10));
  BRAID_CHECK(sampling.top_k >= 0 && sampling.min_tokens >= 0);
  BRAID_CHECK(sampling.top_logprobs >= -1 &&
              sampling.top_logprobs <= kMaxTopLogprobs);
  for (const auto& [token, bias] : sampling.logit_bias) {
    BRAID_CHECK(token >= 0 && token < kVocabulary && Within(bias, -100, 100));
  }
  BRAID_CHECK(options.n >= 1 && options.n <= kMaxChoices);
  BRAID_CHECK(options.stop.size() <= kMaxStopStrings);
  for (const std::string& stop : options.stop) {
    BRAID_CHECK(!stop.empty() && stop.size() <= kMaxStopBytes);
  }
}

void CheckRefusal(const absl::Status& status) {
  const ApiError error = ToApiError(status);
  BRAID_CHECK_MSG(error.http_status == 400, status.ToString());
  BRAID_CHECK_MSG(!error.message.empty(), status.ToString());
  const auto document = ParseJson(ToJson(error));
  BRAID_CHECK_MSG(document.ok(), ToJson(error));
  for (const char* key : {"message", "type", "param", "code"}) {
    BRAID_CHECK(document->Find("error")->Find(key) != nullptr);
  }
}

void CheckChat(absl::string_view body) {
  const auto chat = ParseChatRequest(body, kVocabulary);
  if (!chat.ok()) return CheckRefusal(chat.status());
  CheckOptions(chat->options);
  BRAID_CHECK(!chat->messages.array()->empty());
  for (const JsonValue& message : *chat->messages.array()) {
    BRAID_CHECK(!message.Find("role")->string()->empty());
    BRAID_CHECK(message.Find("content")->string() != nullptr);
  }
  BRAID_CHECK(chat->tools.is_null() || chat->tools.array() != nullptr);
  BRAID_CHECK(chat->options.max_tokens != 0u);
}

void CheckCompletion(absl::string_view body) {
  const auto completion = ParseCompletionRequest(body, kVocabulary);
  if (!completion.ok()) return CheckRefusal(completion.status());
  CheckOptions(completion->options);
  BRAID_CHECK(!completion->prompts.empty());
  BRAID_CHECK(completion->prompts.size() * completion->options.n <=
              static_cast<size_t>(kMaxChoices));
  for (const Prompt& prompt : completion->prompts) {
    const auto* ids = std::get_if<std::vector<TokenId>>(&prompt);
    if (ids == nullptr) continue;
    for (const TokenId id : *ids) BRAID_CHECK(id >= 0 && id < kVocabulary);
  }
  BRAID_CHECK(completion->echo || *completion->options.max_tokens > 0);
}

// What /tokenize and /detokenize read.
void CheckTokens(absl::string_view body) {
  const auto document = ParseJson(std::string_view(body.data(), body.size()));
  if (!document.ok()) return CheckRefusal(document.status());
  const JsonValue* tokens = document->Find("tokens");
  if (tokens == nullptr) return;
  const auto ids = ParseTokenIds(*tokens, "tokens", kVocabulary);
  if (!ids.ok()) return CheckRefusal(ids.status());
  BRAID_CHECK(ids->size() == tokens->array()->size());
}

}  // namespace
}  // namespace braid::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view body(reinterpret_cast<const char*>(data), size);
  braid::server::CheckChat(body);
  braid::server::CheckCompletion(body);
  braid::server::CheckTokens(body);
  return 0;
}
