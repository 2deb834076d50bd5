// Runs a parsed template. One interpreter renders once; it owns the namespaces
// and macros that the template makes, and everything ends with it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/jinja/ast.h"
#include "model/jinja/value.h"

namespace braid::jinja {

// Variables of one block that has its own: a loop's turn, a macro's call.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string, Value>> variables;
  bool captured = false;  // a macro refers to it: it lives to the end
};

struct Macro {
  const Signature* signature;
  const Block* body;
  Scope* scope;  // where it was defined
};

class Interpreter final {
 public:
  using Variables = std::vector<std::pair<std::string, Value>>;

  // `now_unix_seconds`: for strftime_now.
  explicit Interpreter(int64_t now_unix_seconds) : now_(now_unix_seconds) {}

  // `block` outlives the call.
  absl::StatusOr<Text> Run(const Block& block, Variables variables);

  Budget& budget() { return budget_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class ScopeGuard;
  class DepthGuard;

  // Statements: statements.cc.
  absl::StatusOr<Flow> Exec(const Block& block, Scope& scope, Text& out);
  absl::StatusOr<Flow> ExecOne(const Stmt& node, Scope& scope, Text& out);
  absl::StatusOr<Flow> ExecIf(const Stmt& node, Scope& scope, Text& out);
  absl::StatusOr<Flow> ExecFor(const Stmt& node, Scope& scope, Text& out);
  absl::StatusOr<Flow> ExecWith(const Stmt& node, Scope& scope, Text& out);
  absl::Status ExecCallBlock(const Stmt& node, Scope& scope, Text& out);
  absl::StatusOr<std::vector<Value>> LoopItems(const Stmt& node, Scope& scope);
  // A block with variables of its own, as text.
  absl::StatusOr<Text> Capture(const Block& block, Scope& scope);
  absl::Status Write(const Text& text, Text& out);
  absl::Status Assign(const Expr& target, const Value& value, Scope& scope);
  const Macro* Define(const Stmt& node, Scope& scope);

  // Expressions: interpreter.cc.
  absl::StatusOr<Value> Eval(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalCollection(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalSlice(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalUnary(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalBinary(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalCompare(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalFilter(const Expr& node, Scope& scope);
  absl::StatusOr<Value> EvalCall(const Expr& node, Scope& scope,
                                 const Macro* caller);
  absl::StatusOr<Arguments> EvalArguments(const Expr& node, Scope& scope);
  absl::StatusOr<Value> CallFunction(GlobalFunction function,
                                     const Arguments& arguments);
  absl::StatusOr<Value> CallMacro(const Macro& macro, Arguments arguments);
  Value Lookup(const std::string& name, const Scope& scope) const;

  const int64_t now_;
  Budget budget_;
  const Value* filter_input_ = nullptr;  // of the filter block being applied
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
  std::vector<std::unique_ptr<Scope>> captured_;
};

// Leaves the depth of recursion when it goes.
class Interpreter::DepthGuard final {
 public:
  explicit DepthGuard(Budget& budget)
      : budget_(budget), status_(budget.Enter()) {}
  ~DepthGuard() { budget_.Leave(); }
  const absl::Status& status() const { return status_; }

 private:
  Budget& budget_;
  const absl::Status status_;
};

// A scope for as long as its block runs, or longer if a macro captured it.
class Interpreter::ScopeGuard final {
 public:
  ScopeGuard(Interpreter& interpreter, Scope* parent)
      : interpreter_(interpreter), scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
  }
  ~ScopeGuard() {
    if (scope_->captured) {
      interpreter_.captured_.push_back(std::move(scope_));
    }
  }
  Scope& operator*() const { return *scope_; }

 private:
  Interpreter& interpreter_;
  std::unique_ptr<Scope> scope_;
};

// Sets a variable of this scope.
void SetVariable(Scope& scope, const std::string& name, Value value);
// The same status, saying where. OK stays OK.
absl::Status Locate(Position position, const absl::Status& status);

}  // namespace braid::jinja
