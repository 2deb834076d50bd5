// POST /v1/completions as a value. Pure: no sockets, no model.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "model/json_value.h"
#include "server/openai/generation_options.h"

namespace braid::server {

// Text, or the ids of its tokens.
using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  std::vector<Prompt> prompts;  // not empty
  bool echo = false;            // the answer begins with the prompt
  GenerationOptions options;
};

// INVALID_ARGUMENT naming the field.
absl::StatusOr<CompletionRequest> ParseCompletionRequest(absl::string_view body,
                                                         int32_t vocabulary);

// A list of token ids; `path` is what errors call it.
absl::StatusOr<std::vector<TokenId>> ParseTokenIds(const JsonValue& value,
                                                   absl::string_view path,
                                                   int32_t vocabulary);

}  // namespace braid::server
