// Tokens with a place in them; what both halves of the parser read from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/jinja/lexer.h"

namespace braid::jinja {

class TokenStream final {
 public:
  explicit TokenStream(std::vector<Token> tokens)
      : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  // The kEnd token is never passed.
  const Token& Next() {
    const Token& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  Position position() const { return current().position; }

  bool Is(TokenKind kind) const { return current().kind == kind; }
  bool IsName(std::string_view name) const {
    return Is(TokenKind::kName) && current().text == name;
  }
  bool IsOperator(std::string_view op) const {
    return Is(TokenKind::kOperator) && current().text == op;
  }
  bool NextIsOperator(std::string_view op) const {
    return at_ + 1 < tokens_.size() &&
           tokens_[at_ + 1].kind == TokenKind::kOperator &&
           tokens_[at_ + 1].text == op;
  }
  bool NextIsName(std::string_view name) const {
    return at_ + 1 < tokens_.size() &&
           tokens_[at_ + 1].kind == TokenKind::kName &&
           tokens_[at_ + 1].text == name;
  }
  bool SkipName(std::string_view name) { return IsName(name) && Skip(); }
  bool SkipOperator(std::string_view op) { return IsOperator(op) && Skip(); }

  absl::Status ExpectOperator(const std::string& op) {
    return SkipOperator(op) ? absl::OkStatus() : Unexpected("'" + op + "'");
  }
  absl::Status Expect(TokenKind kind, const std::string& what) {
    return Is(kind) && Skip() ? absl::OkStatus() : Unexpected(what);
  }
  absl::StatusOr<std::string> ExpectName() {
    if (!Is(TokenKind::kName)) return Unexpected("a name");
    return Next().text;
  }

  absl::Status Unexpected(const std::string& wanted) const {
    const std::string got =
        Is(TokenKind::kEnd) ? "the end" : "'" + current().text + "'";
    return ErrorAt(position(), "expected " + wanted + ", got " + got);
  }

 private:
  bool Skip() {
    Next();
    return true;
  }
  const std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace braid::jinja
