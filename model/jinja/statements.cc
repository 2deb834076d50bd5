// The statements of Interpreter.

#include "base/status_macros.h"
#include "model/jinja/format.h"
#include "model/jinja/interpreter.h"

namespace braid::jinja {

void SetVariable(Scope& scope, const std::string& name, Value value) {
  for (auto& [key, old] : scope.variables) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  scope.variables.emplace_back(name, std::move(value));
}

absl::Status Interpreter::Write(const Text& text, Text& out) {
  BRAID_RETURN_IF_ERROR(budget_.Step(1 + text.size() / 32));
  out.Append(text);
  if (out.size() > Budget::kMaxBytes) return budget_.Bytes(out.size());
  return absl::OkStatus();
}

absl::StatusOr<Interpreter::Flow> Interpreter::Exec(const Block& block,
                                                    Scope& scope, Text& out) {
  const DepthGuard depth(budget_);
  BRAID_RETURN_IF_ERROR(depth.status());
  for (const auto& node : block) {
    BRAID_RETURN_IF_ERROR(budget_.Step());
    BRAID_ASSIGN_OR_RETURN(const Flow flow, ExecOne(*node, scope, out));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecOne(const Stmt& node,
                                                       Scope& scope,
                                                       Text& out) {
  switch (node.kind) {
    case StmtKind::kData:
      BRAID_RETURN_IF_ERROR(Write(node.text, out));
      return Flow::kNext;
    case StmtKind::kOutput: {
      BRAID_ASSIGN_OR_RETURN(const Value value, Eval(*node.expr, scope));
      const auto text = Str(budget_, value);
      if (!text.ok()) return Locate(node.position, text.status());
      BRAID_RETURN_IF_ERROR(Write(*text, out));
      return Flow::kNext;
    }
    case StmtKind::kIf:
      return ExecIf(node, scope, out);
    case StmtKind::kFor:
      return ExecFor(node, scope, out);
    case StmtKind::kSet: {
      BRAID_ASSIGN_OR_RETURN(const Value value, Eval(*node.expr, scope));
      BRAID_RETURN_IF_ERROR(Assign(*node.target, value, scope));
      return Flow::kNext;
    }
    case StmtKind::kSetBlock:
    case StmtKind::kFilterBlock: {
      BRAID_ASSIGN_OR_RETURN(Text text, Capture(node.body, scope));
      Value value(std::move(text));
      if (node.expr != nullptr) {
        const Value input = value;
        const Value* outer = std::exchange(filter_input_, &input);
        auto filtered = Eval(*node.expr, scope);
        filter_input_ = outer;
        if (!filtered.ok()) return filtered.status();
        value = *std::move(filtered);
      }
      if (node.kind == StmtKind::kSetBlock) {
        BRAID_RETURN_IF_ERROR(Assign(*node.target, value, scope));
      } else {
        BRAID_ASSIGN_OR_RETURN(const Text result, Str(budget_, value));
        BRAID_RETURN_IF_ERROR(Write(result, out));
      }
      return Flow::kNext;
    }
    case StmtKind::kWith:
      return ExecWith(node, scope, out);
    case StmtKind::kMacro:
      SetVariable(scope, node.signature.name, Value(Define(node, scope)));
      return Flow::kNext;
    case StmtKind::kCallBlock:
      BRAID_RETURN_IF_ERROR(ExecCallBlock(node, scope, out));
      return Flow::kNext;
    case StmtKind::kScope: {
      const ScopeGuard inner(*this, &scope);
      return Exec(node.body, *inner, out);
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Error("unreachable");
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecIf(const Stmt& node,
                                                      Scope& scope, Text& out) {
  for (const auto& [condition, body] : node.branches) {
    if (condition != nullptr) {
      BRAID_ASSIGN_OR_RETURN(const Value value, Eval(*condition, scope));
      if (!Truthy(value)) continue;
    }
    return Exec(body, scope, out);
  }
  return Flow::kNext;
}

absl::StatusOr<std::vector<Value>> Interpreter::LoopItems(const Stmt& node,
                                                          Scope& scope) {
  BRAID_ASSIGN_OR_RETURN(const Value sequence, Eval(*node.expr, scope));
  auto items = Iterate(budget_, sequence);
  if (!items.ok()) return Locate(node.position, items.status());
  if (node.condition == nullptr) return items;
  // All of the conditions come before the first turn, so a condition does not
  // see what the body does to a namespace.
  std::vector<Value> kept;
  for (Value& item : *items) {
    const ScopeGuard turn(*this, &scope);
    BRAID_RETURN_IF_ERROR(Assign(*node.target, item, *turn));
    BRAID_ASSIGN_OR_RETURN(const Value wanted, Eval(*node.condition, *turn));
    if (Truthy(wanted)) kept.push_back(std::move(item));
  }
  return kept;
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecFor(const Stmt& node,
                                                       Scope& scope,
                                                       Text& out) {
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items, LoopItems(node, scope));
  if (items.empty()) {
    const ScopeGuard inner(*this, &scope);
    return Exec(node.otherwise, *inner, out);
  }
  BRAID_ASSIGN_OR_RETURN(const Value list, MakeList(budget_, std::move(items)));
  // Shared with values: `loop` may be kept in a variable.
  auto loop = std::make_shared<Loop>();
  loop->items = list.shared_list();
  Flow flow = Flow::kNext;
  absl::Status status;
  for (; loop->index < loop->items->items.size(); ++loop->index) {
    const ScopeGuard turn(*this, &scope);
    SetVariable(*turn, "loop", Value(loop));
    status = Assign(*node.target, loop->items->items[loop->index], *turn);
    if (!status.ok()) break;
    const auto result = Exec(node.body, *turn, out);
    status = result.status();
    if (!status.ok()) break;
    flow = *result;
    if (flow == Flow::kBreak) break;
  }
  loop->changed.clear();  // it may hold the loop itself
  if (loop->index == loop->items->items.size()) --loop->index;
  BRAID_RETURN_IF_ERROR(status);
  return Flow::kNext;
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecWith(const Stmt& node,
                                                        Scope& scope,
                                                        Text& out) {
  const ScopeGuard inner(*this, &scope);
  for (const auto& [target, expr] : node.assignments) {
    BRAID_ASSIGN_OR_RETURN(const Value value, Eval(*expr, scope));
    BRAID_RETURN_IF_ERROR(Assign(*target, value, *inner));
  }
  return Exec(node.body, *inner, out);
}

absl::Status Interpreter::ExecCallBlock(const Stmt& node, Scope& scope,
                                        Text& out) {
  const Macro* caller = Define(node, scope);
  BRAID_ASSIGN_OR_RETURN(const Value value,
                         EvalCall(*node.expr, scope, caller));
  BRAID_ASSIGN_OR_RETURN(const Text text, Str(budget_, value));
  return Write(text, out);
}

absl::StatusOr<Text> Interpreter::Capture(const Block& block, Scope& scope) {
  const ScopeGuard inner(*this, &scope);
  Text text;
  BRAID_ASSIGN_OR_RETURN(const Flow flow, Exec(block, *inner, text));
  if (flow != Flow::kNext) {
    return Error("break and continue do not leave a set or filter block");
  }
  return text;
}

absl::Status Interpreter::Assign(const Expr& target, const Value& value,
                                 Scope& scope) {
  if (target.kind == ExprKind::kName) {
    SetVariable(scope, target.name, value);
    return absl::OkStatus();
  }
  if (target.kind == ExprKind::kAttribute) {
    BRAID_ASSIGN_OR_RETURN(const Value object, Eval(*target.parts[0], scope));
    Namespace* ns = object.name_space();
    if (ns == nullptr) {
      return ErrorAt(target.position,
                     "cannot assign an attribute of a non-namespace object");
    }
    if (target.name.starts_with('_')) {
      return ErrorAt(target.position,
                     "attributes of a namespace do not start with '_'");
    }
    for (auto& [name, old] : ns->attributes) {
      if (name != target.name) continue;
      old = value;
      return absl::OkStatus();
    }
    ns->attributes.emplace_back(target.name, value);
    return absl::OkStatus();
  }
  const auto items = Iterate(budget_, value);
  if (!items.ok()) return Locate(target.position, items.status());
  if (items->size() != target.parts.size()) {
    return ErrorAt(target.position, "expected " +
                                        std::to_string(target.parts.size()) +
                                        " values to unpack, got " +
                                        std::to_string(items->size()));
  }
  for (size_t i = 0; i < items->size(); ++i) {
    BRAID_RETURN_IF_ERROR(Assign(*target.parts[i], (*items)[i], scope));
  }
  return absl::OkStatus();
}

const Macro* Interpreter::Define(const Stmt& node, Scope& scope) {
  for (Scope* s = &scope; s != nullptr && !s->captured; s = s->parent) {
    s->captured = true;
  }
  return &macros_.emplace_back(Macro{&node.signature, &node.body, &scope});
}

}  // namespace braid::jinja
