#include "model/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "absl/strings/numbers.h"
#include "base/status_macros.h"

namespace braid::jinja {
namespace {

// Binary operators, loosest first; those of one level associate to the left,
// "**" included, as Jinja has it.
constexpr std::string_view kLevels[][4] = {
    {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
constexpr int kLevelCount = 4;

class Nesting {
 public:
  explicit Nesting(int* depth) : depth_(*depth) { ++depth_; }
  ~Nesting() { --depth_; }

 private:
  int& depth_;
};

absl::StatusOr<Value> ParseInteger(const Token& token) {
  std::string_view digits = token.text;
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0' && digits[1] > '9') {
    base = (digits[1] | 0x20) == 'x' ? 16 : (digits[1] | 0x20) == 'o' ? 8 : 2;
    digits.remove_prefix(2);
  }
  int64_t value = 0;
  const auto read = std::from_chars(digits.data(),
                                    digits.data() + digits.size(), value, base);
  if (read.ec != std::errc()) {
    return ErrorAt(token.position, "the integer does not fit 64 bits");
  }
  return Value(value);
}

}  // namespace

ExprPtr ExpressionParser::Make(ExprKind kind, Position position) {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->position = position;
  return node;
}

absl::Status ExpressionParser::Adopt(Expr& node, const Expr& part) {
  node.depth = std::max(node.depth, 1 + part.depth);
  if (node.depth <= kMaxDepth) return absl::OkStatus();
  return ErrorAt(node.position, "the expression is too long or too deep");
}

absl::Status ExpressionParser::Add(Expr& node, ExprPtr part) {
  // The part is owned by the tree before anything can fail.
  node.parts.push_back(std::move(part));
  return Adopt(node, *node.parts.back());
}

absl::StatusOr<ExprPtr> ExpressionParser::Expression(bool with_condition) {
  Nesting nesting(&nesting_);
  if (nesting_ > kMaxNesting) {
    return ErrorAt(tokens_.position(), "expressions nest too deeply");
  }
  BRAID_ASSIGN_OR_RETURN(ExprPtr node, Or());
  while (with_condition && tokens_.IsName("if")) {
    ExprPtr choice = Make(ExprKind::kCondition, tokens_.Next().position);
    BRAID_ASSIGN_OR_RETURN(ExprPtr condition, Or());
    BRAID_RETURN_IF_ERROR(Add(*choice, std::move(condition)));
    BRAID_RETURN_IF_ERROR(Add(*choice, std::move(node)));
    if (tokens_.SkipName("else")) {
      BRAID_ASSIGN_OR_RETURN(ExprPtr otherwise, Expression());
      BRAID_RETURN_IF_ERROR(Add(*choice, std::move(otherwise)));
    } else {
      choice->parts.push_back(nullptr);
    }
    node = std::move(choice);
  }
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Or() {
  BRAID_ASSIGN_OR_RETURN(ExprPtr left, And());
  while (tokens_.IsName("or")) {
    ExprPtr node = Make(ExprKind::kBinary, tokens_.position());
    node->name = tokens_.Next().text;
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(left)));
    BRAID_ASSIGN_OR_RETURN(ExprPtr right, And());
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::And() {
  BRAID_ASSIGN_OR_RETURN(ExprPtr left, Not());
  while (tokens_.IsName("and")) {
    ExprPtr node = Make(ExprKind::kBinary, tokens_.position());
    node->name = tokens_.Next().text;
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(left)));
    BRAID_ASSIGN_OR_RETURN(ExprPtr right, Not());
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::Not() {
  if (!tokens_.IsName("not")) return Compare();
  Nesting nesting(&nesting_);
  if (nesting_ > kMaxNesting) {
    return ErrorAt(tokens_.position(), "expressions nest too deeply");
  }
  ExprPtr node = Make(ExprKind::kUnary, tokens_.position());
  node->name = tokens_.Next().text;
  BRAID_ASSIGN_OR_RETURN(ExprPtr operand, Not());
  BRAID_RETURN_IF_ERROR(Add(*node, std::move(operand)));
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Compare() {
  static constexpr std::string_view kOperators[] = {"==", "!=", "<",
                                                    "<=", ">",  ">="};
  BRAID_ASSIGN_OR_RETURN(ExprPtr first, Binary(0));
  ExprPtr node;
  while (true) {
    std::string op;
    const bool symbol =
        tokens_.Is(TokenKind::kOperator) &&
        std::find(std::begin(kOperators), std::end(kOperators),
                  tokens_.current().text) != std::end(kOperators);
    const Position position = tokens_.position();
    if (symbol || tokens_.IsName("in")) {
      op = tokens_.Next().text;
    } else if (tokens_.IsName("not") && tokens_.NextIsName("in")) {
      tokens_.Next();
      tokens_.Next();
      op = "not in";
    } else {
      return node == nullptr ? std::move(first) : std::move(node);
    }
    if (node == nullptr) {
      node = Make(ExprKind::kCompare, position);
      BRAID_RETURN_IF_ERROR(Add(*node, std::move(first)));
    }
    node->operators.push_back(op);
    BRAID_ASSIGN_OR_RETURN(ExprPtr operand, Binary(0));
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(operand)));
  }
}

absl::StatusOr<ExprPtr> ExpressionParser::Binary(int level) {
  if (level == kLevelCount) return Unary(true);
  BRAID_ASSIGN_OR_RETURN(ExprPtr left, Binary(level + 1));
  while (tokens_.Is(TokenKind::kOperator) &&
         std::find(std::begin(kLevels[level]), std::end(kLevels[level]),
                   tokens_.current().text) != std::end(kLevels[level])) {
    ExprPtr node = Make(ExprKind::kBinary, tokens_.position());
    node->name = tokens_.Next().text;
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(left)));
    BRAID_ASSIGN_OR_RETURN(ExprPtr right, Binary(level + 1));
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::Unary(bool with_filters) {
  Nesting nesting(&nesting_);
  if (nesting_ > kMaxNesting) {
    return ErrorAt(tokens_.position(), "expressions nest too deeply");
  }
  ExprPtr node;
  if (tokens_.IsOperator("-") || tokens_.IsOperator("+")) {
    node = Make(ExprKind::kUnary, tokens_.position());
    node->name = tokens_.Next().text;
    BRAID_ASSIGN_OR_RETURN(ExprPtr operand, Unary(false));
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(operand)));
  } else {
    BRAID_ASSIGN_OR_RETURN(node, Primary());
  }
  BRAID_ASSIGN_OR_RETURN(node, Postfix(std::move(node)));
  if (!with_filters) return node;
  return FiltersAndTests(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::Primary() {
  const Token& token = tokens_.current();
  ExprPtr node = Make(ExprKind::kConstant, token.position);
  switch (token.kind) {
    case TokenKind::kName:
      if (token.text == "true" || token.text == "True") {
        node->constant = Value(true);
      } else if (token.text == "false" || token.text == "False") {
        node->constant = Value(false);
      } else if (token.text != "none" && token.text != "None") {
        node->kind = ExprKind::kName;
        node->name = token.text;
        names_.push_back(token.text);
      }
      tokens_.Next();
      return node;
    case TokenKind::kString: {
      std::string text;
      while (tokens_.Is(TokenKind::kString)) text += tokens_.Next().text;
      node->constant = Value::Literal(std::move(text));
      return node;
    }
    case TokenKind::kInteger: {
      BRAID_ASSIGN_OR_RETURN(node->constant, ParseInteger(token));
      tokens_.Next();
      return node;
    }
    case TokenKind::kFloat: {
      double value = 0;
      if (!absl::SimpleAtod(token.text, &value)) {
        return ErrorAt(token.position, "not a number");
      }
      node->constant = Value(value);
      tokens_.Next();
      return node;
    }
    default:
      if (tokens_.IsOperator("(")) return Parenthesized();
      if (tokens_.IsOperator("[")) return ListLiteral();
      if (tokens_.IsOperator("{")) return DictLiteral();
      return tokens_.Unexpected("an expression");
  }
}

absl::StatusOr<ExprPtr> ExpressionParser::Parenthesized() {
  const Position position = tokens_.Next().position;
  if (tokens_.SkipOperator(")")) return Make(ExprKind::kTuple, position);
  BRAID_ASSIGN_OR_RETURN(ExprPtr node, Tuple());
  BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::ListLiteral() {
  ExprPtr node = Make(ExprKind::kList, tokens_.Next().position);
  while (!tokens_.IsOperator("]")) {
    if (!node->parts.empty()) {
      BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      if (tokens_.IsOperator("]")) break;
    }
    BRAID_ASSIGN_OR_RETURN(ExprPtr item, Expression());
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(item)));
  }
  tokens_.Next();
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::DictLiteral() {
  ExprPtr node = Make(ExprKind::kDict, tokens_.Next().position);
  while (!tokens_.IsOperator("}")) {
    if (!node->parts.empty()) {
      BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      if (tokens_.IsOperator("}")) break;
    }
    BRAID_ASSIGN_OR_RETURN(ExprPtr key, Expression());
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(key)));
    BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(":"));
    BRAID_ASSIGN_OR_RETURN(ExprPtr value, Expression());
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(value)));
  }
  tokens_.Next();
  return node;
}

bool ExpressionParser::AtTupleEnd() const {
  return tokens_.Is(TokenKind::kBlockEnd) ||
         tokens_.Is(TokenKind::kVariableEnd) || tokens_.IsOperator(")") ||
         tokens_.Is(TokenKind::kEnd);
}

absl::StatusOr<ExprPtr> ExpressionParser::Tuple(bool with_condition) {
  const Position position = tokens_.position();
  BRAID_ASSIGN_OR_RETURN(ExprPtr first, Expression(with_condition));
  if (!tokens_.IsOperator(",")) return first;
  ExprPtr node = Make(ExprKind::kTuple, position);
  BRAID_RETURN_IF_ERROR(Add(*node, std::move(first)));
  while (tokens_.SkipOperator(",")) {
    if (AtTupleEnd()) break;
    BRAID_ASSIGN_OR_RETURN(ExprPtr item, Expression(with_condition));
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(item)));
  }
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Target(bool with_namespace) {
  const auto one = [&]() -> absl::StatusOr<ExprPtr> {
    const Position position = tokens_.position();
    if (tokens_.SkipOperator("(")) {
      Nesting nesting(&nesting_);
      if (nesting_ > kMaxNesting) {
        return ErrorAt(position, "expressions nest too deeply");
      }
      BRAID_ASSIGN_OR_RETURN(ExprPtr inner, Target(with_namespace));
      BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
      return inner;
    }
    BRAID_ASSIGN_OR_RETURN(std::string name, tokens_.ExpectName());
    for (const char* word : {"true", "True", "false", "False", "none", "None",
                             "not", "and", "or", "if", "else", "in", "is"}) {
      if (name == word) return ErrorAt(position, "can't assign to " + name);
    }
    ExprPtr node = Make(ExprKind::kName, position);
    node->name = std::move(name);
    if (!with_namespace || !tokens_.SkipOperator(".")) return node;
    ExprPtr attribute = Make(ExprKind::kAttribute, position);
    BRAID_ASSIGN_OR_RETURN(attribute->name, tokens_.ExpectName());
    BRAID_RETURN_IF_ERROR(Add(*attribute, std::move(node)));
    return attribute;
  };
  const Position position = tokens_.position();
  BRAID_ASSIGN_OR_RETURN(ExprPtr first, one());
  if (!tokens_.IsOperator(",")) return first;
  ExprPtr node = Make(ExprKind::kTuple, position);
  BRAID_RETURN_IF_ERROR(Add(*node, std::move(first)));
  while (tokens_.SkipOperator(",")) {
    if (AtTupleEnd() || tokens_.IsName("in") || tokens_.IsOperator("=")) break;
    BRAID_ASSIGN_OR_RETURN(ExprPtr item, one());
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(item)));
  }
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Postfix(ExprPtr node) {
  while (true) {
    const Position position = tokens_.position();
    if (tokens_.SkipOperator(".")) {
      ExprPtr outer = Make(ExprKind::kAttribute, position);
      if (tokens_.Is(TokenKind::kInteger)) {
        outer->kind = ExprKind::kItem;
        ExprPtr key = Make(ExprKind::kConstant, tokens_.position());
        BRAID_ASSIGN_OR_RETURN(key->constant, ParseInteger(tokens_.Next()));
        BRAID_RETURN_IF_ERROR(Add(*outer, std::move(node)));
        BRAID_RETURN_IF_ERROR(Add(*outer, std::move(key)));
      } else {
        BRAID_ASSIGN_OR_RETURN(outer->name, tokens_.ExpectName());
        BRAID_RETURN_IF_ERROR(Add(*outer, std::move(node)));
      }
      node = std::move(outer);
    } else if (tokens_.IsOperator("[")) {
      BRAID_ASSIGN_OR_RETURN(node, Subscript(std::move(node)));
    } else if (tokens_.IsOperator("(")) {
      ExprPtr call = Make(ExprKind::kCall, position);
      BRAID_RETURN_IF_ERROR(Add(*call, std::move(node)));
      BRAID_RETURN_IF_ERROR(CallArguments(*call));
      node = std::move(call);
    } else {
      return node;
    }
  }
}

absl::StatusOr<ExprPtr> ExpressionParser::FiltersAndTests(ExprPtr node) {
  while (true) {
    if (tokens_.IsOperator("|")) {
      BRAID_ASSIGN_OR_RETURN(node, Filters(std::move(node), false));
    } else if (tokens_.IsName("is")) {
      BRAID_ASSIGN_OR_RETURN(node, Test(std::move(node)));
    } else if (tokens_.IsOperator("(")) {
      ExprPtr call = Make(ExprKind::kCall, tokens_.position());
      BRAID_RETURN_IF_ERROR(Add(*call, std::move(node)));
      BRAID_RETURN_IF_ERROR(CallArguments(*call));
      node = std::move(call);
    } else {
      return node;
    }
  }
}

absl::StatusOr<ExprPtr> ExpressionParser::Subscript(ExprPtr object) {
  const Position position = tokens_.Next().position;
  ExprPtr parts[3];
  int count = 0;  // colons
  if (!tokens_.IsOperator(":")) {
    BRAID_ASSIGN_OR_RETURN(parts[0], Expression());
  }
  while (tokens_.SkipOperator(":")) {
    if (++count > 2) return tokens_.Unexpected("']'");
    if (tokens_.IsOperator(":") || tokens_.IsOperator("]")) continue;
    BRAID_ASSIGN_OR_RETURN(parts[count], Expression());
  }
  ExprPtr node =
      Make(count == 0 ? ExprKind::kItem : ExprKind::kSlice, position);
  BRAID_RETURN_IF_ERROR(Add(*node, std::move(object)));
  if (count == 0) {
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(parts[0])));
    if (tokens_.IsOperator(",")) {  // object[1, 2]: the key is a tuple
      ExprPtr key = Make(ExprKind::kTuple, position);
      BRAID_RETURN_IF_ERROR(Add(*key, std::move(node->parts.back())));
      node->parts.pop_back();
      while (tokens_.SkipOperator(",")) {
        BRAID_ASSIGN_OR_RETURN(ExprPtr item, Expression());
        BRAID_RETURN_IF_ERROR(Add(*key, std::move(item)));
      }
      BRAID_RETURN_IF_ERROR(Add(*node, std::move(key)));
    }
  } else {
    for (ExprPtr& part : parts) {
      if (part == nullptr) {
        node->parts.push_back(nullptr);
      } else {
        BRAID_RETURN_IF_ERROR(Add(*node, std::move(part)));
      }
    }
  }
  BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  return node;
}

absl::StatusOr<std::string> ExpressionParser::DottedName() {
  BRAID_ASSIGN_OR_RETURN(std::string name, tokens_.ExpectName());
  while (tokens_.SkipOperator(".")) {
    BRAID_ASSIGN_OR_RETURN(const std::string part, tokens_.ExpectName());
    name += "." + part;
  }
  return name;
}

absl::StatusOr<ExprPtr> ExpressionParser::Filters(ExprPtr input, bool first) {
  while (first || tokens_.IsOperator("|")) {
    if (!first) tokens_.Next();
    first = false;
    ExprPtr node = Make(ExprKind::kFilter, tokens_.position());
    BRAID_ASSIGN_OR_RETURN(node->name, DottedName());
    if (input == nullptr) {
      node->parts.push_back(nullptr);
    } else {
      BRAID_RETURN_IF_ERROR(Add(*node, std::move(input)));
    }
    if (tokens_.IsOperator("(")) BRAID_RETURN_IF_ERROR(CallArguments(*node));
    input = std::move(node);
  }
  return input;
}

absl::StatusOr<ExprPtr> ExpressionParser::Test(ExprPtr input) {
  const Position position = tokens_.Next().position;
  const bool negated = tokens_.SkipName("not");
  ExprPtr node = Make(ExprKind::kTest, position);
  BRAID_ASSIGN_OR_RETURN(node->name, DottedName());
  BRAID_RETURN_IF_ERROR(Add(*node, std::move(input)));
  const bool operand =
      tokens_.Is(TokenKind::kString) || tokens_.Is(TokenKind::kInteger) ||
      tokens_.Is(TokenKind::kFloat) || tokens_.IsOperator("[") ||
      tokens_.IsOperator("{") ||
      (tokens_.Is(TokenKind::kName) && !tokens_.IsName("else") &&
       !tokens_.IsName("or") && !tokens_.IsName("and"));
  if (tokens_.IsOperator("(")) {
    BRAID_RETURN_IF_ERROR(CallArguments(*node));
  } else if (operand) {
    if (tokens_.IsName("is")) {
      return ErrorAt(tokens_.position(), "tests can not be chained with is");
    }
    BRAID_ASSIGN_OR_RETURN(ExprPtr argument, Primary());
    BRAID_ASSIGN_OR_RETURN(argument, Postfix(std::move(argument)));
    BRAID_RETURN_IF_ERROR(Add(*node, std::move(argument)));
  }
  if (!negated) return node;
  ExprPtr opposite = Make(ExprKind::kUnary, position);
  opposite->name = "not";
  BRAID_RETURN_IF_ERROR(Add(*opposite, std::move(node)));
  return opposite;
}

absl::Status ExpressionParser::CallArguments(Expr& call) {
  BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
  bool first = true;
  while (!tokens_.IsOperator(")")) {
    if (!first) {
      BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      if (tokens_.IsOperator(")")) break;
    }
    first = false;
    if (tokens_.IsOperator("*") || tokens_.IsOperator("**")) {
      return ErrorAt(tokens_.position(),
                     "* and ** arguments are not supported");
    }
    std::string name;
    if (tokens_.Is(TokenKind::kName) && tokens_.NextIsOperator("=")) {
      name = tokens_.Next().text;
      tokens_.Next();
    } else if (!call.named.empty()) {
      return ErrorAt(tokens_.position(),
                     "a positional argument after a named one");
    }
    BRAID_ASSIGN_OR_RETURN(ExprPtr value, Expression());
    if (name.empty()) {
      BRAID_RETURN_IF_ERROR(Add(call, std::move(value)));
      continue;
    }
    for (const auto& argument : call.named) {
      if (argument.first == name) {
        return ErrorAt(tokens_.position(), "the argument comes twice");
      }
    }
    call.named.emplace_back(std::move(name), std::move(value));
    BRAID_RETURN_IF_ERROR(Adopt(call, *call.named.back().second));
  }
  tokens_.Next();
  return absl::OkStatus();
}

}  // namespace braid::jinja
