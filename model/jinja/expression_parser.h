// The expressions of a template, by recursive descent.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/jinja/ast.h"
#include "model/jinja/token_stream.h"

namespace braid::jinja {

class ExpressionParser final {
 public:
  // Bounds recursion of the parser, here and in statements.
  static constexpr int kMaxNesting = 100;
  // Bounds the height of an expression: a chain of 300 "~" is high.
  static constexpr int kMaxDepth = 300;

  // `tokens` outlives the parser.
  explicit ExpressionParser(TokenStream* tokens) : tokens_(*tokens) {}

  // An expression with or without inline if.
  absl::StatusOr<ExprPtr> Expression(bool with_condition = true);
  // The same, or several with commas between them: a tuple.
  absl::StatusOr<ExprPtr> Tuple(bool with_condition = true);
  // What for and set assign to.
  absl::StatusOr<ExprPtr> Target(bool with_namespace);
  // Filters without an input before them; `first` reads the first name without
  // a "|".
  absl::StatusOr<ExprPtr> Filters(ExprPtr input, bool first);

  // Every name read, for those who want to know what a body refers to.
  std::vector<std::string> TakeNames() { return std::move(names_); }
  std::vector<std::string>& names() { return names_; }

 private:
  absl::StatusOr<ExprPtr> Or();
  absl::StatusOr<ExprPtr> And();
  absl::StatusOr<ExprPtr> Not();
  absl::StatusOr<ExprPtr> Compare();
  absl::StatusOr<ExprPtr> Binary(int level);
  absl::StatusOr<ExprPtr> Unary(bool with_filters);
  absl::StatusOr<ExprPtr> Primary();
  absl::StatusOr<ExprPtr> Parenthesized();
  absl::StatusOr<ExprPtr> ListLiteral();
  absl::StatusOr<ExprPtr> DictLiteral();
  absl::StatusOr<ExprPtr> Postfix(ExprPtr node);
  absl::StatusOr<ExprPtr> FiltersAndTests(ExprPtr node);
  absl::StatusOr<ExprPtr> Subscript(ExprPtr object);
  absl::StatusOr<ExprPtr> Test(ExprPtr input);
  absl::Status CallArguments(Expr& call);
  absl::StatusOr<std::string> DottedName();
  bool AtTupleEnd() const;

  ExprPtr Make(ExprKind kind, Position position);
  // Adds a part, which makes the tree higher.
  absl::Status Add(Expr& node, ExprPtr part);
  absl::Status Adopt(Expr& node, const Expr& part);

  TokenStream& tokens_;
  int nesting_ = 0;
  std::vector<std::string> names_;
};

}  // namespace braid::jinja
