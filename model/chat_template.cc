#include "model/chat_template.h"

#include <utility>

#include "base/status_macros.h"
#include "model/jinja/interpreter.h"
#include "model/jinja/parser.h"

namespace braid {
namespace {

using jinja::Budget;
using jinja::Text;
using jinja::Value;

// Every string of it is the user's.
absl::StatusOr<Value> FromInput(Budget& budget, const JsonValue& json) {
  if (const bool* flag = json.boolean()) return Value(*flag);
  if (const int64_t* integer = json.integer()) return Value(*integer);
  if (const double* real = json.real()) return Value(*real);
  if (const std::string* text = json.string()) {
    BRAID_RETURN_IF_ERROR(budget.Bytes(text->size()));
    return Value(Text(*text, true));
  }
  if (const JsonValue::Array* array = json.array()) {
    std::vector<Value> items;
    for (const JsonValue& item : *array) {
      BRAID_ASSIGN_OR_RETURN(items.emplace_back(), FromInput(budget, item));
    }
    return MakeList(budget, std::move(items));
  }
  if (const JsonValue::Object* object = json.object()) {
    std::vector<std::pair<Value, Value>> items;
    for (const auto& [key, member] : *object) {
      auto& item = items.emplace_back(Value(Text(key, true)), Value());
      BRAID_ASSIGN_OR_RETURN(item.second, FromInput(budget, member));
    }
    return MakeDict(budget, std::move(items));
  }
  return Value();
}

// A token that the model does not have stays undefined.
void AddToken(const char* name, const std::string& token,
              jinja::Interpreter::Variables& variables) {
  if (!token.empty()) variables.emplace_back(name, Value(Text(token, false)));
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(
    std::string_view source) {
  auto impl = std::make_unique<Impl>();
  BRAID_ASSIGN_OR_RETURN(impl->block, jinja::ParseTemplate(source));
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

absl::StatusOr<std::vector<TextSpan>> ChatTemplate::Render(
    const ChatTemplateInput& input) const {
  jinja::Interpreter interpreter(input.now_unix_seconds);
  Budget& budget = interpreter.budget();
  jinja::Interpreter::Variables variables;
  BRAID_ASSIGN_OR_RETURN(Value messages, FromInput(budget, input.messages));
  BRAID_ASSIGN_OR_RETURN(Value tools, FromInput(budget, input.tools));
  variables.emplace_back("messages", std::move(messages));
  variables.emplace_back("tools", std::move(tools));
  variables.emplace_back("documents", Value());
  variables.emplace_back("add_generation_prompt",
                         Value(input.add_generation_prompt));
  AddToken("bos_token", input.bos_token, variables);
  AddToken("eos_token", input.eos_token, variables);
  for (const auto& [name, json] : input.extra) {
    if (name == "messages" || name == "tools" ||
        name == "add_generation_prompt") {
      return absl::InvalidArgumentError("chat_template_kwargs can not set '" +
                                        name +
                                        "'; use the field of the request");
    }
    BRAID_ASSIGN_OR_RETURN(Value value, FromInput(budget, json));
    bool known = false;
    for (auto& [key, old] : variables) {
      if (key != name) continue;
      old = std::move(value);
      known = true;
      break;
    }
    if (!known) variables.emplace_back(name, std::move(value));
  }
  BRAID_ASSIGN_OR_RETURN(const Text text,
                         interpreter.Run(impl_->block, std::move(variables)));
  std::vector<TextSpan> spans;
  size_t begin = 0;
  for (const Text::Run& run : text.runs()) {
    spans.push_back({text.bytes().substr(begin, run.end - begin), !run.user});
    begin = run.end;
  }
  return spans;
}

}  // namespace braid
