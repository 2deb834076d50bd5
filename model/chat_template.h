// A model's chat template: the subset of Jinja that published templates use,
// rendered to marked text so that what a user typed stays text.
//
// Immutable after Parse; Render is const and thread-safe. Steps, output size
// and depth are bounded, since a request may bring its own template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/json_value.h"
#include "model/tokenizer.h"

namespace braid {

struct ChatTemplateInput {
  JsonValue messages;  // array of {role, content, ...}
  JsonValue tools;     // array or null
  bool add_generation_prompt = true;
  JsonValue::Object extra;  // chat_template_kwargs
  std::string bos_token, eos_token;
  int64_t now_unix_seconds = 0;  // for strftime_now
};

class ChatTemplate final {
 public:
  // INVALID_ARGUMENT with line and column.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(
      std::string_view source);
  ~ChatTemplate();

  // Text from the template may hold special tokens (parse_special); strings
  // that came in through `input` never do, whatever filters they went through.
  // INVALID_ARGUMENT for raise_exception and for errors of the template;
  // RESOURCE_EXHAUSTED past a limit.
  absl::StatusOr<std::vector<TextSpan>> Render(
      const ChatTemplateInput& input) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace braid
