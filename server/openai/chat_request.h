// POST /v1/chat/completions as a value. Pure: no sockets, no model.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json_value.h"
#include "server/openai/generation_options.h"

namespace braid::server {

struct ChatRequest {
  // Each an object with a string `role` and a string (or no) `content`: text
  // parts are joined, and thinking parts of earlier turns left out, as no
  // template takes them.
  JsonValue messages;
  JsonValue tools;  // array, shown to the template; or null
  JsonValue::Object template_arguments;  // chat_template_kwargs
  bool add_generation_prompt = true;
  GenerationOptions options;
};

// INVALID_ARGUMENT naming the field; UNIMPLEMENTED for what would change the
// answer and is not there yet (images, response_format, forced tool calls).
absl::StatusOr<ChatRequest> ParseChatRequest(absl::string_view body,
                                             int32_t vocabulary);
// The same from a document; gRPC and /tokenize share ParseMessages.
absl::StatusOr<ChatRequest> ParseChatDocument(const JsonValue& document,
                                              int32_t vocabulary);
absl::StatusOr<JsonValue> ParseMessages(const JsonValue* messages);

}  // namespace braid::server
