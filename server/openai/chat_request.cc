#include "server/openai/chat_request.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/request_error.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

// A `content` that is a list of parts, as one text.
absl::StatusOr<std::string> JoinParts(const JsonValue::Array& parts,
                                      const std::string& path) {
  std::string text;
  bool first = true;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string part_path = absl::StrCat(path, "[", i, "]");
    if (parts[i].object() == nullptr) {
      return InvalidField(part_path, "must be an object");
    }
    FieldReader part(parts[i], absl::StrCat(part_path, "."));
    const std::string type = part.String("type");
    BRAID_RETURN_IF_ERROR(part.status());
    // What the model thought in earlier turns is not shown to it again.
    if (type == "thinking" || type == "reasoning") continue;
    if (type != "text") {
      return InvalidField(absl::StrCat(part_path, ".type"),
                          absl::StrCat("'", type,
                                       "' is not supported; this model takes "
                                       "parts of type 'text'"));
    }
    if (part.Get("text") == nullptr) {
      return InvalidField(absl::StrCat(part_path, ".text"), "is missing");
    }
    if (!first) text += '\n';
    first = false;
    text += part.String("text");
    BRAID_RETURN_IF_ERROR(part.status());
  }
  return text;
}

absl::StatusOr<JsonValue> ParseMessage(const JsonValue& message,
                                       const std::string& path) {
  if (message.object() == nullptr) {
    return InvalidField(path, "must be an object");
  }
  FieldReader fields(message, absl::StrCat(path, "."));
  if (fields.Get("role") == nullptr) {
    return InvalidField(absl::StrCat(path, ".role"), "is missing");
  }
  const std::string role = fields.String("role");
  BRAID_RETURN_IF_ERROR(fields.status());
  if (role.empty()) {
    return InvalidField(absl::StrCat(path, ".role"), "must not be empty");
  }
  const std::string content_path = absl::StrCat(path, ".content");
  bool has_content = false;
  JsonValue::Object out;
  for (const auto& [key, value] : *message.object()) {
    if (key == "role") {
      // OpenAI's newer word for it; templates know the older one, and some
      // leave out without a word whom they do not know.
      out.emplace_back(key, role == "developer" ? "system" : role);
      continue;
    }
    if (key != "content" || value.is_null()) {
      if (key != "content") out.emplace_back(key, value);
      continue;
    }
    has_content = true;
    if (value.string() != nullptr) {
      out.emplace_back(key, value);
    } else if (value.array() != nullptr) {
      BRAID_ASSIGN_OR_RETURN(std::string text,
                             JoinParts(*value.array(), content_path));
      out.emplace_back(key, std::move(text));
    } else {
      fields.FailType("content", "a string or a list of parts", value);
      return fields.status();
    }
  }
  if (!has_content) {
    // Only an assistant that called tools may have said nothing.
    if (role != "assistant") return InvalidField(content_path, "is missing");
    out.emplace_back("content", "");
  }
  return JsonValue(std::move(out));
}

// A template writes down what it finds where a function's name ought to be: of
// anything else it would make a prompt that means nothing.
void CheckTools(const JsonValue::Array& tools, FieldReader& fields) {
  const auto text = [](const JsonValue* value) -> absl::string_view {
    if (value == nullptr || value->string() == nullptr) return "";
    return *value->string();
  };
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string path = absl::StrCat("tools[", i, "]");
    if (text(tools[i].Find("type")) != "function") {
      fields.Fail(path, "must be an object of type 'function'");
    }
    const JsonValue* function = tools[i].Find("function");
    if (function == nullptr || text(function->Find("name")).empty()) {
      fields.Fail(absl::StrCat(path, ".function"),
                  "must be an object with the function's name");
    }
  }
}

void RefuseForcedCalls(FieldReader& fields) {
  if (const JsonValue* choice = fields.Get("tool_choice")) {
    if (choice->string() == nullptr ||
        (*choice->string() != "none" && *choice->string() != "auto")) {
      fields.Fail("tool_choice",
                  "only 'none' and 'auto' are supported; calls cannot be "
                  "forced yet");
    }
  }
}

void ParseLogprobs(FieldReader& fields, SamplingParams& sampling) {
  const bool logprobs = fields.Bool("logprobs", false);
  const auto top = fields.OptionalInteger("top_logprobs", 0, kMaxTopLogprobs);
  if (logprobs) {
    sampling.top_logprobs = static_cast<int32_t>(top.value_or(0));
  } else if (top.value_or(0) > 0) {
    fields.Fail("top_logprobs", "needs logprobs: true");
  }
}

}  // namespace

absl::StatusOr<JsonValue> ParseMessages(const JsonValue* messages) {
  if (messages == nullptr || messages->is_null()) {
    return InvalidField("messages", "is missing");
  }
  if (messages->array() == nullptr) {
    return InvalidField("messages", "must be a list of messages");
  }
  if (messages->array()->empty()) {
    return InvalidField("messages", "must not be empty");
  }
  JsonValue::Array parsed;
  parsed.reserve(messages->array()->size());
  for (size_t i = 0; i < messages->array()->size(); ++i) {
    BRAID_ASSIGN_OR_RETURN(JsonValue message,
                           ParseMessage((*messages->array())[i],
                                        absl::StrCat("messages[", i, "]")));
    parsed.push_back(std::move(message));
  }
  return JsonValue(std::move(parsed));
}

absl::StatusOr<ChatRequest> ParseChatDocument(const JsonValue& document,
                                              int32_t vocabulary) {
  ChatRequest request;
  FieldReader fields(document);
  BRAID_ASSIGN_OR_RETURN(request.messages,
                         ParseMessages(fields.Get("messages")));
  if (const JsonValue* tools = fields.Get("tools")) {
    if (tools->array() == nullptr) {
      fields.FailType("tools", "a list", *tools);
    } else if (!tools->array()->empty()) {
      CheckTools(*tools->array(), fields);
      const JsonValue* choice = fields.Get("tool_choice");
      const bool none = choice != nullptr && choice->string() != nullptr &&
                        *choice->string() == "none";
      if (!none) request.tools = *tools;
    }
  }
  if (const JsonValue* arguments = fields.Get("chat_template_kwargs")) {
    if (arguments->object() == nullptr) {
      fields.FailType("chat_template_kwargs", "an object", *arguments);
    } else {
      request.template_arguments = *arguments->object();
    }
  }
  request.add_generation_prompt = fields.Bool("add_generation_prompt", true);
  RefuseForcedCalls(fields);
  request.options = ParseGenerationOptions(fields, vocabulary);
  CheckMinTokens(request.options, fields);
  if (request.options.max_tokens == 0u) {
    fields.Fail("max_tokens", "must be at least 1");
  }
  ParseLogprobs(fields, request.options.sampling);
  BRAID_RETURN_IF_ERROR(fields.status());
  request.options.ignored_fields = fields.Unread();
  return request;
}

absl::StatusOr<ChatRequest> ParseChatRequest(absl::string_view body,
                                             int32_t vocabulary) {
  BRAID_ASSIGN_OR_RETURN(const JsonValue document, ParseBody(body));
  return ParseChatDocument(document, vocabulary);
}

}  // namespace braid::server
