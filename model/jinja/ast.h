// The tree of a template. Nodes are plain structs told apart by a kind, with
// their parts in `parts` by the order given at the kind.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/jinja/lexer.h"
#include "model/jinja/value.h"

namespace braid::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  kConstant,   // constant
  kName,       // name
  kTuple,      // parts: elements; also a target of for and set
  kList,       // parts: elements
  kDict,       // parts: key, value, key, value...
  kAttribute,  // parts: object; name. As a target of set: a namespace's
  kItem,       // parts: object, key
  kSlice,      // parts: object, start, stop, step (null where omitted)
  kCall,       // parts: callee, positional arguments; named
  kFilter,     // parts: input (null in a filter block), positional; name, named
  kTest,       // parts: input, positional; name, named
  kUnary,      // parts: operand; name: not, -, +
  kBinary,     // parts: left, right; name: and or ~ + - * / // % **
  kCompare,    // parts: operands; operators[i] between i and i + 1
  kCondition,  // parts: condition, then, else (null: undefined)
};

struct Expr {
  ExprKind kind;
  Position position;
  int depth = 1;
  std::string name;
  Value constant;
  std::vector<ExprPtr> parts;
  std::vector<std::pair<std::string, ExprPtr>> named;
  std::vector<std::string> operators;  // == != < <= > >= in "not in"
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind {
  kData,         // text
  kOutput,       // expr
  kIf,           // branches: condition (null: else), body
  kFor,          // target, expr, condition (or null), body, otherwise
  kSet,          // target, expr
  kSetBlock,     // target, expr: filters (or null), body
  kWith,         // assignments, body
  kMacro,        // signature, body
  kCallBlock,    // expr: the call, signature: of caller(), body
  kFilterBlock,  // expr: filters, body
  kScope,        // body: {% generation %}
  kBreak,
  kContinue,
};

struct Signature {
  std::string name;
  std::vector<std::string> parameters;
  // Of the last parameters.
  std::vector<ExprPtr> defaults;
  // Names of the call that the body looks at.
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Stmt {
  StmtKind kind;
  Position position;
  Text text;
  ExprPtr target, expr, condition;
  std::vector<std::pair<ExprPtr, Block>> branches;
  std::vector<std::pair<ExprPtr, ExprPtr>> assignments;
  Signature signature;
  Block body, otherwise;
};

}  // namespace braid::jinja
