// The model that a server offers: its name, and the way from a client's text or
// messages to tokens.
//
// Immutable after construction; any thread may use it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "server/parscale_terms.h"

namespace braid::server {

class ServedModel final {
 public:
  struct Parts {
    std::string name;
    std::unique_ptr<Tokenizer> tokenizer;
    std::string chat_template;        // its source; empty: completions only
    uint32_t max_context = 0;         // tokens
    uint32_t default_max_tokens = 0;  // see DefaultMaxTokens
    int64_t created_unix_seconds = 0;
    ParscaleOffer parscale;
  };
  // INVALID_ARGUMENT for a chat template that cannot be parsed.
  static absl::StatusOr<std::unique_ptr<ServedModel>> Create(Parts parts);

  const std::string& name() const { return parts_.name; }
  const Tokenizer& tokenizer() const { return *parts_.tokenizer; }
  const std::string& chat_template() const { return parts_.chat_template; }
  uint32_t max_context() const { return parts_.max_context; }
  const ParscaleOffer& parscale() const { return parts_.parscale; }
  int64_t created_unix_seconds() const { return parts_.created_unix_seconds; }

  // NOT_FOUND unless `name` is this model's, or empty.
  absl::Status CheckName(absl::string_view name) const;

  struct ChatInput {
    JsonValue messages;
    JsonValue tools;
    JsonValue::Object template_arguments;
    bool add_generation_prompt = true;
  };
  // Whether the chat template shows tools to the model.
  bool TakesTools() const;
  // INVALID_ARGUMENT where the template refuses the messages, or there is none.
  absl::StatusOr<std::vector<TextSpan>> RenderChat(ChatInput input) const;
  // Also for messages that are too long whatever their tokens are.
  absl::StatusOr<std::vector<TokenId>> EncodeChat(ChatInput input) const;

  // A raw prompt: its author also writes its special tokens, which is why they
  // are recognised here, and BOS goes before it where the model wants one.
  // INVALID_ARGUMENT for a text that is too long whatever its tokens are.
  absl::StatusOr<std::vector<TokenId>> EncodeText(
      absl::string_view text, bool add_special = true) const;

  // INVALID_ARGUMENT with code context_length_exceeded unless the prompt and
  // `max_tokens` more fit.
  absl::Status CheckLength(size_t prompt_tokens, uint32_t max_tokens) const;

  // Most tokens of an answer whose request sets no limit: the configured
  // number, or what the prompt leaves of the context.
  //
  // REQUIRES: prompt_tokens <= max_context().
  uint32_t DefaultMaxTokens(size_t prompt_tokens) const;

  // For requests that bring no seed: a different one each time.
  uint64_t NextSeed() const;

 private:
  ServedModel(Parts parts, std::unique_ptr<ChatTemplate> chat_template);
  void AddBos(std::vector<TokenId>& tokens) const;

  Parts parts_;
  std::unique_ptr<ChatTemplate> chat_template_;
  size_t longest_token_ = 1;  // bytes
  const uint64_t seed_base_;
  mutable std::atomic<uint64_t> seeds_drawn_{0};
};

}  // namespace braid::server
