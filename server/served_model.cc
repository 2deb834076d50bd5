#include "server/served_model.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/request_error.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

int64_t NowUnixSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

absl::Status TooLong(absl::string_view what, uint32_t max_context) {
  return WithCode(absl::InvalidArgumentError(absl::StrCat(
                      what, ", but this model's context is ", max_context,
                      " tokens; shorten the prompt or lower max_tokens")),
                  "context_length_exceeded");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedModel>> ServedModel::Create(Parts parts) {
  std::unique_ptr<ChatTemplate> chat_template;
  if (!parts.chat_template.empty()) {
    BRAID_ASSIGN_OR_RETURN(chat_template,
                           ChatTemplate::Parse(parts.chat_template));
  }
  return std::unique_ptr<ServedModel>(
      new ServedModel(std::move(parts), std::move(chat_template)));
}

ServedModel::ServedModel(Parts parts,
                         std::unique_ptr<ChatTemplate> chat_template)
    : parts_(std::move(parts)),
      chat_template_(std::move(chat_template)),
      seed_base_(RandomSeed()) {
  for (TokenId id = 0; id < tokenizer().vocabulary(); ++id) {
    longest_token_ =
        std::max(longest_token_, tokenizer().TokenBytes(id, true).size());
  }
}

absl::Status ServedModel::CheckName(absl::string_view name) const {
  if (name.empty() || name == parts_.name) return absl::OkStatus();
  return WithCode(absl::NotFoundError(absl::StrCat(
                      "there is no model '", name.substr(0, 200),
                      "' here; this server has '", parts_.name, "'")),
                  "model_not_found");
}

void ServedModel::AddBos(std::vector<TokenId>& tokens) const {
  const TokenizerSpec& spec = tokenizer().spec();
  if (!spec.add_bos || !spec.bos) return;
  if (!tokens.empty() && tokens.front() == *spec.bos) return;
  tokens.insert(tokens.begin(), *spec.bos);
}

bool ServedModel::TakesTools() const {
  return absl::StrContains(parts_.chat_template, "tools");
}

absl::StatusOr<std::vector<TextSpan>> ServedModel::RenderChat(
    ChatInput input) const {
  if (chat_template_ == nullptr) {
    return absl::InvalidArgumentError(
        "this model has no chat template; use /v1/completions");
  }
  const TokenizerSpec& spec = tokenizer().spec();
  ChatTemplateInput rendered;
  rendered.messages = std::move(input.messages);
  rendered.tools = std::move(input.tools);
  rendered.extra = std::move(input.template_arguments);
  rendered.add_generation_prompt = input.add_generation_prompt;
  if (spec.bos) rendered.bos_token = spec.tokens[*spec.bos];
  if (spec.eos) rendered.eos_token = spec.tokens[*spec.eos];
  rendered.now_unix_seconds = NowUnixSeconds();
  absl::StatusOr<std::vector<TextSpan>> rendering =
      chat_template_->Render(rendered);
  if (absl::IsResourceExhausted(rendering.status())) {
    // A limit of one rendering: trying again later would not help.
    return absl::InvalidArgumentError(rendering.status().message());
  }
  return rendering;
}

absl::StatusOr<std::vector<TokenId>> ServedModel::EncodeChat(
    ChatInput input) const {
  BRAID_ASSIGN_OR_RETURN(const std::vector<TextSpan> spans,
                         RenderChat(std::move(input)));
  size_t bytes = 0;
  for (const TextSpan& span : spans) bytes += span.text.size();
  if (bytes / longest_token_ > parts_.max_context) {
    return TooLong(absl::StrCat("the messages have ", bytes, " bytes"),
                   parts_.max_context);
  }
  std::vector<TokenId> tokens = tokenizer().Encode(spans);
  AddBos(tokens);
  return tokens;
}

absl::StatusOr<std::vector<TokenId>> ServedModel::EncodeText(
    absl::string_view text, bool add_special) const {
  if (text.size() / longest_token_ > parts_.max_context) {
    return TooLong(absl::StrCat("the prompt has ", text.size(), " bytes"),
                   parts_.max_context);
  }
  std::vector<TokenId> tokens =
      tokenizer().Encode(ToStd(text), /*parse_special=*/true);
  if (add_special) AddBos(tokens);
  return tokens;
}

absl::Status ServedModel::CheckLength(size_t prompt_tokens,
                                      uint32_t max_tokens) const {
  if (prompt_tokens == 0) {
    return InvalidField("prompt", "must hold at least one token");
  }
  if (prompt_tokens + max_tokens <= parts_.max_context) return absl::OkStatus();
  return TooLong(absl::StrCat("the prompt has ", prompt_tokens,
                              " tokens and the answer may have ", max_tokens),
                 parts_.max_context);
}

uint32_t ServedModel::DefaultMaxTokens(size_t prompt_tokens) const {
  return std::min(parts_.default_max_tokens,
                  parts_.max_context - static_cast<uint32_t>(prompt_tokens));
}

uint64_t ServedModel::NextSeed() const {
  // An odd stride visits every value before one comes again.
  return seed_base_ + seeds_drawn_.fetch_add(1) * 0x9E3779B97F4A7C15u;
}

}  // namespace braid::server
