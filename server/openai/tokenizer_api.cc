#include "server/openai/tokenizer_api.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/openai/field_reader.h"
#include "server/openai/response_parts.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

absl::StatusOr<ServedModel::ChatInput> ParseChat(const JsonValue& document,
                                                 const ServedModel& model) {
  BRAID_ASSIGN_OR_RETURN(
      ChatRequest chat,
      ParseChatDocument(document, model.tokenizer().vocabulary()));
  BRAID_RETURN_IF_ERROR(model.CheckName(chat.options.model));
  return ServedModel::ChatInput{std::move(chat.messages), std::move(chat.tools),
                                std::move(chat.template_arguments),
                                chat.add_generation_prompt};
}

// Of a token alone: bytes that are no character by themselves become U+FFFD.
void AppendPiece(const Tokenizer& tokenizer, TokenId token, std::string& out) {
  const std::string_view bytes = tokenizer.TokenBytes(token, true);
  AppendJsonString({bytes.data(), bytes.size()}, out);
}

std::string TokensJson(const ServedModel& model,
                       const std::vector<TokenId>& tokens, bool pieces,
                       bool strings) {
  std::string out =
      absl::StrCat("{\"count\":", tokens.size(),
                   ",\"max_model_len\":", model.max_context(), ",\"tokens\":[");
  const auto list = [&](auto append) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) out += ',';
      append(tokens[i]);
    }
    out += ']';
  };
  list([&](TokenId token) {
    absl::StrAppend(&out, pieces ? "{\"id\":" : "", token);
    if (!pieces) return;
    out += ",\"piece\":";
    AppendPiece(model.tokenizer(), token, out);
    out += '}';
  });
  if (strings) {
    out += ",\"token_strs\":[";
    list([&](TokenId token) { AppendPiece(model.tokenizer(), token, out); });
  }
  out += '}';
  return out;
}

HttpReply Unwrap(absl::StatusOr<HttpResponse> response) {
  if (response.ok()) return *std::move(response);
  return ErrorResponse(response.status());
}

}  // namespace

void TokenizerApi::AddRoutes(Router& router) const {
  using Method =
      absl::StatusOr<HttpResponse> (TokenizerApi::*)(const HttpRequest&) const;
  const auto post = [&](const char* path, Method method) {
    router.Add("POST", path, Access::kNeedsKey,
               [this, method](const HttpRequest& request, const Waker&) {
                 return Unwrap((this->*method)(request));
               });
  };
  post("/tokenize", &TokenizerApi::Tokenize);
  post("/detokenize", &TokenizerApi::Detokenize);
  post("/apply-template", &TokenizerApi::ApplyTemplate);
  router.Add("GET", "/tokenizer_info", Access::kNeedsKey,
             [this](const HttpRequest&, const Waker&) { return Info(); });
}

absl::StatusOr<HttpResponse> TokenizerApi::Tokenize(
    const HttpRequest& request) const {
  BRAID_ASSIGN_OR_RETURN(const JsonValue document, ParseBody(request.body));
  FieldReader fields(document);
  BRAID_RETURN_IF_ERROR(model_.CheckName(fields.String("model")));
  // llama-server's name and vLLM's.
  const bool pieces = fields.Bool("with_pieces", false);
  const bool strings = fields.Bool("return_token_strs", false);
  std::vector<TokenId> tokens;
  if (fields.Get("messages") != nullptr) {
    BRAID_RETURN_IF_ERROR(fields.status());
    BRAID_ASSIGN_OR_RETURN(ServedModel::ChatInput chat,
                           ParseChat(document, model_));
    BRAID_ASSIGN_OR_RETURN(tokens, model_.EncodeChat(std::move(chat)));
  } else {
    const char* key = fields.Get("prompt") != nullptr ? "prompt" : "content";
    if (fields.Get(key) == nullptr) {
      return InvalidField("prompt", "is missing; give prompt or messages");
    }
    const std::string text = fields.String(key);
    // vLLM's name and llama-server's; the latter adds none by default.
    const bool add_special = fields.Bool(
        "add_special_tokens",
        fields.Bool("add_special", absl::string_view(key) == "prompt"));
    BRAID_RETURN_IF_ERROR(fields.status());
    BRAID_ASSIGN_OR_RETURN(tokens, model_.EncodeText(text, add_special));
  }
  return JsonResponse(TokensJson(model_, tokens, pieces, strings));
}

absl::StatusOr<HttpResponse> TokenizerApi::Detokenize(
    const HttpRequest& request) const {
  BRAID_ASSIGN_OR_RETURN(const JsonValue document, ParseBody(request.body));
  FieldReader fields(document);
  BRAID_RETURN_IF_ERROR(model_.CheckName(fields.String("model")));
  BRAID_RETURN_IF_ERROR(fields.status());
  const JsonValue* value = fields.Get("tokens");
  if (value == nullptr) return InvalidField("tokens", "is missing");
  BRAID_ASSIGN_OR_RETURN(
      std::vector<TokenId> tokens,
      ParseTokenIds(*value, "tokens", model_.tokenizer().vocabulary()));
  // A token id is a few bytes, its text may be a hundred.
  if (!tokens.empty()) {
    BRAID_RETURN_IF_ERROR(model_.CheckLength(tokens.size(), 0));
  }
  // One text under the names that vLLM's and llama-server's clients look for.
  std::string text;
  AppendJsonString(model_.tokenizer().Decode(tokens, true), text);
  return JsonResponse(
      absl::StrCat("{\"prompt\":", text, ",\"content\":", text, "}"));
}

absl::StatusOr<HttpResponse> TokenizerApi::ApplyTemplate(
    const HttpRequest& request) const {
  BRAID_ASSIGN_OR_RETURN(const JsonValue document, ParseBody(request.body));
  BRAID_ASSIGN_OR_RETURN(ServedModel::ChatInput chat,
                         ParseChat(document, model_));
  BRAID_ASSIGN_OR_RETURN(const std::vector<TextSpan> spans,
                         model_.RenderChat(std::move(chat)));
  std::string prompt;
  for (const TextSpan& span : spans) prompt += span.text;
  std::string out = "{\"prompt\":";
  AppendJsonString(prompt, out);
  out += '}';
  return JsonResponse(std::move(out));
}

// The keys of tokenizer_config.json.
HttpResponse TokenizerApi::Info() const {
  const TokenizerSpec& spec = model_.tokenizer().spec();
  std::string out =
      absl::StrCat("{\"vocab_size\":", spec.tokens.size(),
                   ",\"model_max_length\":", model_.max_context(),
                   ",\"add_bos_token\":", spec.add_bos ? "true" : "false");
  const auto token = [&](const char* key, const std::optional<TokenId>& id) {
    absl::StrAppend(&out, ",\"", key, "\":");
    if (id) {
      AppendPiece(model_.tokenizer(), *id, out);
    } else {
      out += "null";
    }
  };
  token("bos_token", spec.bos);
  token("eos_token", spec.eos);
  token("pad_token", spec.padding);
  token("unk_token", spec.unknown);
  out += ",\"chat_template\":";
  if (model_.chat_template().empty()) {
    out += "null";
  } else {
    AppendJsonString(model_.chat_template(), out);
  }
  out += '}';
  return JsonResponse(std::move(out));
}

}  // namespace braid::server
