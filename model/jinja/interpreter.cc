#include "model/jinja/interpreter.h"

#include <algorithm>

#include "base/status_macros.h"
#include "model/jinja/arguments.h"
#include "model/jinja/filters.h"
#include "model/jinja/format.h"
#include "model/jinja/methods.h"
#include "model/jinja/operators.h"

namespace braid::jinja {
namespace {

template <typename T>
absl::StatusOr<Value> Located(Position position, absl::StatusOr<T> result) {
  if (!result.ok()) return Locate(position, result.status());
  return Value(*std::move(result));
}

absl::StatusOr<Value> MakeRange(Budget& budget, const Arguments& arguments) {
  if (arguments.positional.empty() || arguments.positional.size() > 3 ||
      !arguments.named.empty()) {
    return Error("range() takes 1 to 3 integers");
  }
  int64_t bounds[3] = {0, 0, 1};
  const size_t count = arguments.positional.size();
  for (size_t i = 0; i < count; ++i) {
    int64_t& bound = bounds[count == 1 ? 1 : i];
    if (!arguments.positional[i].AsInteger(&bound)) {
      return Error("range() needs integers");
    }
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) return Error("range() step must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() == Budget::kMaxRange) {
      return absl::ResourceExhaustedError("range() of more than 100000");
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return MakeList(budget, std::move(items));
}

// dict(mapping or pairs, name=value, ...)
absl::StatusOr<Value> MakeDictFrom(Budget& budget, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) return Error("dict() takes one mapping");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.dict() != nullptr) {
      items = source.dict()->items;
    } else {
      BRAID_ASSIGN_OR_RETURN(const std::vector<Value> pairs,
                             Iterate(budget, source));
      for (const Value& pair : pairs) {
        BRAID_ASSIGN_OR_RETURN(const std::vector<Value> parts,
                               Iterate(budget, pair));
        if (parts.size() != 2) return Error("dict() needs pairs");
        items.emplace_back(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    items.emplace_back(Value::Literal(name), value);
  }
  return MakeDict(budget, std::move(items));
}

}  // namespace

absl::Status Locate(Position position, const absl::Status& status) {
  if (status.ok()) return status;
  const absl::Status located = ErrorAt(position, std::string(status.message()));
  return absl::Status(status.code(), located.message());
}

absl::StatusOr<Text> Interpreter::Run(const Block& block, Variables variables) {
  ScopeGuard scope(*this, nullptr);
  (*scope).variables = std::move(variables);
  Text out;
  BRAID_RETURN_IF_ERROR(Exec(block, *scope, out).status());
  return out;
}

Value Interpreter::Lookup(const std::string& name, const Scope& scope) const {
  for (const Scope* s = &scope; s != nullptr; s = s->parent) {
    for (const auto& [key, value] : s->variables) {
      if (key == name) return value;
    }
  }
  if (name == "range") return Value(GlobalFunction::kRange);
  if (name == "namespace") return Value(GlobalFunction::kNamespace);
  if (name == "dict") return Value(GlobalFunction::kDict);
  if (name == "raise_exception") return Value(GlobalFunction::kRaise);
  if (name == "strftime_now") return Value(GlobalFunction::kStrftime);
  return Value(Undefined{"'" + name + "' is undefined"});
}

absl::StatusOr<Value> Interpreter::Eval(const Expr& node, Scope& scope) {
  const DepthGuard depth(budget_);
  BRAID_RETURN_IF_ERROR(depth.status());
  BRAID_RETURN_IF_ERROR(budget_.Step());
  switch (node.kind) {
    case ExprKind::kConstant:
      return node.constant;
    case ExprKind::kName:
      return Lookup(node.name, scope);
    case ExprKind::kTuple:
    case ExprKind::kList:
    case ExprKind::kDict:
      return EvalCollection(node, scope);
    case ExprKind::kAttribute: {
      BRAID_ASSIGN_OR_RETURN(const Value object, Eval(*node.parts[0], scope));
      return Located(node.position, Attribute(budget_, object, node.name));
    }
    case ExprKind::kItem: {
      BRAID_ASSIGN_OR_RETURN(const Value object, Eval(*node.parts[0], scope));
      BRAID_ASSIGN_OR_RETURN(const Value key, Eval(*node.parts[1], scope));
      return Located(node.position, Item(budget_, object, key));
    }
    case ExprKind::kSlice:
      return EvalSlice(node, scope);
    case ExprKind::kCall:
      return EvalCall(node, scope, nullptr);
    case ExprKind::kFilter:
      return EvalFilter(node, scope);
    case ExprKind::kTest: {
      BRAID_ASSIGN_OR_RETURN(const Value input, Eval(*node.parts[0], scope));
      BRAID_ASSIGN_OR_RETURN(const Arguments arguments,
                             EvalArguments(node, scope));
      return Located(node.position,
                     ApplyTest(budget_, node.name, input, arguments));
    }
    case ExprKind::kUnary:
      return EvalUnary(node, scope);
    case ExprKind::kBinary:
      return EvalBinary(node, scope);
    case ExprKind::kCompare:
      return EvalCompare(node, scope);
    case ExprKind::kCondition: {
      BRAID_ASSIGN_OR_RETURN(const Value chosen, Eval(*node.parts[0], scope));
      if (Truthy(chosen)) return Eval(*node.parts[1], scope);
      if (node.parts[2] != nullptr) return Eval(*node.parts[2], scope);
      return Value(Undefined{"the inline if is false and has no else"});
    }
  }
  return Error("unreachable");
}

absl::StatusOr<Value> Interpreter::EvalCollection(const Expr& node,
                                                  Scope& scope) {
  std::vector<Value> items;
  for (const ExprPtr& part : node.parts) {
    BRAID_ASSIGN_OR_RETURN(items.emplace_back(), Eval(*part, scope));
  }
  if (node.kind != ExprKind::kDict) {
    return Located(node.position,
                   MakeList(budget_, std::move(items),
                            node.kind == ExprKind::kTuple ? ListKind::kTuple
                                                          : ListKind::kList));
  }
  std::vector<std::pair<Value, Value>> pairs;
  for (size_t i = 0; i < items.size(); i += 2) {
    pairs.emplace_back(std::move(items[i]), std::move(items[i + 1]));
  }
  return Located(node.position, MakeDict(budget_, std::move(pairs)));
}

absl::StatusOr<Value> Interpreter::EvalSlice(const Expr& node, Scope& scope) {
  BRAID_ASSIGN_OR_RETURN(const Value object, Eval(*node.parts[0], scope));
  Value bounds[3];
  const Value* given[3] = {};
  for (size_t i = 0; i < 3; ++i) {
    if (node.parts[i + 1] == nullptr) continue;
    BRAID_ASSIGN_OR_RETURN(bounds[i], Eval(*node.parts[i + 1], scope));
    given[i] = &bounds[i];
  }
  return Located(node.position,
                 Slice(budget_, object, given[0], given[1], given[2]));
}

absl::StatusOr<Value> Interpreter::EvalUnary(const Expr& node, Scope& scope) {
  BRAID_ASSIGN_OR_RETURN(const Value operand, Eval(*node.parts[0], scope));
  if (node.name == "not") return Value(!Truthy(operand));
  if (node.name == "-") return Located(node.position, Negate(operand));
  if (operand.is_undefined()) {
    return ErrorAt(node.position, operand.undefined()->what);
  }
  if (!operand.is_number()) return ErrorAt(node.position, "+ needs a number");
  int64_t integer = 0;
  return operand.AsInteger(&integer) ? Value(integer) : operand;
}

absl::StatusOr<Value> Interpreter::EvalBinary(const Expr& node, Scope& scope) {
  BRAID_ASSIGN_OR_RETURN(const Value left, Eval(*node.parts[0], scope));
  if (node.name == "and" || node.name == "or") {
    if (Truthy(left) == (node.name == "or")) return left;
    return Eval(*node.parts[1], scope);
  }
  BRAID_ASSIGN_OR_RETURN(const Value right, Eval(*node.parts[1], scope));
  return Located(node.position, Arithmetic(budget_, node.name, left, right));
}

absl::StatusOr<Value> Interpreter::EvalCompare(const Expr& node, Scope& scope) {
  BRAID_ASSIGN_OR_RETURN(Value left, Eval(*node.parts[0], scope));
  for (size_t i = 0; i < node.operators.size(); ++i) {
    BRAID_ASSIGN_OR_RETURN(Value right, Eval(*node.parts[i + 1], scope));
    const auto holds = Relation(budget_, node.operators[i], left, right);
    if (!holds.ok()) return Locate(node.position, holds.status());
    if (!*holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

absl::StatusOr<Value> Interpreter::EvalFilter(const Expr& node, Scope& scope) {
  Value input;
  if (node.parts[0] != nullptr) {
    BRAID_ASSIGN_OR_RETURN(input, Eval(*node.parts[0], scope));
  } else {
    input = *filter_input_;
  }
  BRAID_ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(node, scope));
  return Located(node.position,
                 ApplyFilter(budget_, node.name, input, arguments));
}

absl::StatusOr<Arguments> Interpreter::EvalArguments(const Expr& node,
                                                     Scope& scope) {
  Arguments arguments;
  for (size_t i = 1; i < node.parts.size(); ++i) {
    BRAID_ASSIGN_OR_RETURN(arguments.positional.emplace_back(),
                           Eval(*node.parts[i], scope));
  }
  for (const auto& [name, value] : node.named) {
    auto& argument = arguments.named.emplace_back(name, Value());
    BRAID_ASSIGN_OR_RETURN(argument.second, Eval(*value, scope));
  }
  return arguments;
}

absl::StatusOr<Value> Interpreter::EvalCall(const Expr& node, Scope& scope,
                                            const Macro* caller) {
  BRAID_ASSIGN_OR_RETURN(const Value callee, Eval(*node.parts[0], scope));
  BRAID_ASSIGN_OR_RETURN(Arguments arguments, EvalArguments(node, scope));
  if (caller != nullptr) arguments.named.emplace_back("caller", Value(caller));
  if (callee.macro() != nullptr) {
    return CallMacro(*callee.macro(), std::move(arguments));
  }
  if (callee.method() != nullptr) {
    return Located(node.position,
                   CallMethod(budget_, *callee.method(), arguments));
  }
  if (callee.function() == nullptr) {
    return ErrorAt(node.position, callee.is_undefined()
                                      ? callee.undefined()->what
                                      : std::string("'") + callee.type_name() +
                                            "' object is not callable");
  }
  auto result = CallFunction(*callee.function(), arguments);
  // What a template raises is its own message to the user.
  if (*callee.function() == GlobalFunction::kRaise) return result;
  return Located(node.position, std::move(result));
}

absl::StatusOr<Value> Interpreter::CallFunction(GlobalFunction function,
                                                const Arguments& arguments) {
  switch (function) {
    case GlobalFunction::kRange:
      return MakeRange(budget_, arguments);
    case GlobalFunction::kDict:
      return MakeDictFrom(budget_, arguments);
    case GlobalFunction::kNamespace: {
      BRAID_ASSIGN_OR_RETURN(const Value dict,
                             MakeDictFrom(budget_, arguments));
      Namespace& made = namespaces_.emplace_back();
      for (const auto& [key, value] : dict.dict()->items) {
        if (key.text() == nullptr) return Error("attributes are strings");
        if (key.text()->bytes().starts_with('_')) {
          return Error("attributes of a namespace do not start with '_'");
        }
        made.attributes.emplace_back(key.text()->bytes(), value);
      }
      return Value(&made);
    }
    case GlobalFunction::kRaise: {
      BRAID_ASSIGN_OR_RETURN(
          const Bound args,
          Bound::Bind("raise_exception", arguments, {"message"}, 1));
      BRAID_ASSIGN_OR_RETURN(const Text message, Str(budget_, *args[0]));
      return Error(message.bytes());
    }
    case GlobalFunction::kStrftime: {
      BRAID_ASSIGN_OR_RETURN(
          const Bound args,
          Bound::Bind("strftime_now", arguments, {"format"}, 1));
      BRAID_ASSIGN_OR_RETURN(const Text* format, args.String(0));
      if (format == nullptr) return Error("strftime_now needs a format");
      BRAID_ASSIGN_OR_RETURN(std::string text,
                             FormatTime(now_, format->bytes()));
      return Value(Text(std::move(text), format->HasUser()));
    }
  }
  return Error("unreachable");
}

absl::StatusOr<Value> Interpreter::CallMacro(const Macro& macro,
                                             Arguments arguments) {
  const DepthGuard depth(budget_);
  BRAID_RETURN_IF_ERROR(depth.status());
  const Signature& signature = *macro.signature;
  const size_t count = signature.parameters.size();
  ScopeGuard scope(*this, macro.scope);
  const auto take = [&](const std::string& name) -> std::optional<Value> {
    auto& named = arguments.named;
    const auto found =
        std::find_if(named.begin(), named.end(),
                     [&](const auto& entry) { return entry.first == name; });
    if (found == named.end()) return std::nullopt;
    Value value = std::move(found->second);
    named.erase(found);
    return value;
  };
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = signature.parameters[i];
    const size_t first_default = count - signature.defaults.size();
    Value value(Undefined{"parameter '" + name + "' was not provided"});
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (auto given = take(name)) {
      value = *given;
    } else if (i >= first_default) {
      BRAID_ASSIGN_OR_RETURN(
          value, Eval(*signature.defaults[i - first_default], *scope));
    }
    SetVariable(*scope, name, std::move(value));
  }
  if (signature.uses_caller) {
    SetVariable(*scope, "caller",
                take("caller").value_or(Value(Undefined{"no caller defined"})));
  }
  if (signature.uses_kwargs) {
    BRAID_ASSIGN_OR_RETURN(
        Value rest, MakeDictFrom(budget_, {{}, std::move(arguments.named)}));
    SetVariable(*scope, "kwargs", std::move(rest));
  } else if (!arguments.named.empty()) {
    return Error("macro '" + signature.name + "' takes no argument '" +
                 arguments.named[0].first + "'");
  }
  const size_t used = std::min(count, arguments.positional.size());
  if (signature.uses_varargs) {
    std::vector<Value> rest(
        arguments.positional.begin() + static_cast<std::ptrdiff_t>(used),
        arguments.positional.end());
    BRAID_ASSIGN_OR_RETURN(
        Value list, MakeList(budget_, std::move(rest), ListKind::kTuple));
    SetVariable(*scope, "varargs", std::move(list));
  } else if (arguments.positional.size() > count) {
    return Error("macro '" + signature.name + "' takes no more than " +
                 std::to_string(count) + " arguments");
  }
  Text out;
  BRAID_RETURN_IF_ERROR(Exec(*macro.body, *scope, out).status());
  return Value(std::move(out));
}

}  // namespace braid::jinja
