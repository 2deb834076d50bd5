// A template's source as tokens. White space around tags goes here, by the
// rules of Jinja with trim_blocks and lstrip_blocks on and
// keep_trailing_newline off.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace braid::jinja {

struct Position {
  int line = 1;
  int column = 1;  // in bytes
};

enum class TokenKind {
  kData,           // text between tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,  // text: with escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  Position position;
};

// "chat template, line 1, column 2: message".
absl::Status ErrorAt(Position position, const std::string& message);

// Ends with one kEnd.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace braid::jinja
