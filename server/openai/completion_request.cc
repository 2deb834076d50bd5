#include "server/openai/completion_request.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/request_error.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

// OpenAI's own default, unlike chat, which goes on to the end of the context.
constexpr uint32_t kDefaultMaxTokens = 16;

absl::StatusOr<std::vector<Prompt>> ParsePrompts(const JsonValue* value,
                                                 int32_t vocabulary) {
  if (value == nullptr || value->is_null()) {
    return InvalidField("prompt", "is missing");
  }
  std::vector<Prompt> prompts;
  if (value->string() != nullptr) {
    prompts.emplace_back(*value->string());
    return prompts;
  }
  const JsonValue::Array* list = value->array();
  if (list == nullptr || list->empty()) {
    return InvalidField("prompt",
                        "must be a string, a list of strings, a list of token "
                        "ids or a list of such lists, and not empty");
  }
  if (list->front().integer() != nullptr) {
    BRAID_ASSIGN_OR_RETURN(std::vector<TokenId> ids,
                           ParseTokenIds(*value, "prompt", vocabulary));
    prompts.emplace_back(std::move(ids));
    return prompts;
  }
  if (list->size() > kMaxChoices) {
    return InvalidField("prompt",
                        absl::StrCat("has ", list->size(), " prompts; at most ",
                                     kMaxChoices, " are allowed"));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const JsonValue& item = (*list)[i];
    if (item.string() != nullptr) {
      prompts.emplace_back(*item.string());
      continue;
    }
    BRAID_ASSIGN_OR_RETURN(
        std::vector<TokenId> ids,
        ParseTokenIds(item, absl::StrCat("prompt[", i, "]"), vocabulary));
    prompts.emplace_back(std::move(ids));
  }
  return prompts;
}

}  // namespace

absl::StatusOr<std::vector<TokenId>> ParseTokenIds(const JsonValue& value,
                                                   absl::string_view path,
                                                   int32_t vocabulary) {
  if (value.array() == nullptr) {
    return InvalidField(path, "must be text or a list of token ids");
  }
  std::vector<TokenId> ids;
  ids.reserve(value.array()->size());
  for (const JsonValue& item : *value.array()) {
    if (item.integer() == nullptr || *item.integer() < 0 ||
        *item.integer() >= vocabulary) {
      return InvalidField(
          path, absl::StrCat("holds something that is not a token id below ",
                             vocabulary));
    }
    ids.push_back(static_cast<TokenId>(*item.integer()));
  }
  return ids;
}

absl::StatusOr<CompletionRequest> ParseCompletionRequest(absl::string_view body,
                                                         int32_t vocabulary) {
  BRAID_ASSIGN_OR_RETURN(const JsonValue document, ParseBody(body));
  CompletionRequest request;
  FieldReader fields(document);
  BRAID_ASSIGN_OR_RETURN(request.prompts,
                         ParsePrompts(fields.Get("prompt"), vocabulary));
  request.options = ParseGenerationOptions(fields, vocabulary);
  request.echo = fields.Bool("echo", false);
  if (!request.options.max_tokens) {
    request.options.max_tokens = kDefaultMaxTokens;
  }
  CheckMinTokens(request.options, fields);
  if (const auto top = fields.OptionalInteger("logprobs", 0, kMaxTopLogprobs)) {
    request.options.sampling.top_logprobs = static_cast<int32_t>(*top);
  }
  if (*request.options.max_tokens == 0 && !request.echo) {
    fields.Fail("max_tokens", "must be at least 1, unless echo is true");
  }
  if (request.options.best_of > 1 && request.prompts.size() > 1) {
    fields.Fail("best_of", "is for one prompt at a time");
  }
  if (request.options.best_of > 1 && *request.options.max_tokens == 0) {
    fields.Fail("best_of", "needs max_tokens above 0");
  }
  if (request.prompts.size() * request.options.n > kMaxChoices) {
    fields.Fail("n",
                absl::StrCat("prompts times n must be at most ", kMaxChoices));
  }
  BRAID_RETURN_IF_ERROR(fields.status());
  request.options.ignored_fields = fields.Unread();
  return request;
}

}  // namespace braid::server
