#include "model/jinja/parser.h"

#include <algorithm>

#include "base/status_macros.h"
#include "model/jinja/expression_parser.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

using Ends = std::vector<std::string>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens)
      : tokens_(std::move(tokens)), expressions_(&tokens_) {}

  absl::StatusOr<Block> Run() { return Body({}); }

 private:
  // Statements up to one of the tags `ends`, whose name is left as the current
  // token; up to the end of the source without `ends`.
  absl::StatusOr<Block> Body(const Ends& ends) {
    if (++nesting_ > ExpressionParser::kMaxNesting) {
      return ErrorAt(tokens_.position(), "statements nest too deeply");
    }
    Block block;
    while (!tokens_.Is(TokenKind::kEnd)) {
      auto node = std::make_unique<Stmt>();
      node->position = tokens_.position();
      if (tokens_.Is(TokenKind::kData)) {
        node->kind = StmtKind::kData;
        node->text = Text(tokens_.Next().text, false);
      } else if (tokens_.Is(TokenKind::kVariableBegin)) {
        tokens_.Next();
        node->kind = StmtKind::kOutput;
        BRAID_ASSIGN_OR_RETURN(node->expr, expressions_.Tuple());
        BRAID_RETURN_IF_ERROR(tokens_.Expect(TokenKind::kVariableEnd, "'}}'"));
      } else {
        BRAID_RETURN_IF_ERROR(tokens_.Expect(TokenKind::kBlockBegin, "'{%'"));
        if (std::any_of(ends.begin(), ends.end(),
                        [&](const auto& end) { return tokens_.IsName(end); })) {
          --nesting_;
          return block;
        }
        BRAID_ASSIGN_OR_RETURN(node, Statement());
      }
      block.push_back(std::move(node));
    }
    if (!ends.empty()) {
      return tokens_.Unexpected("{% " + ends.back() + " %}");
    }
    --nesting_;
    return block;
  }

  absl::Status EndTag() { return tokens_.Expect(TokenKind::kBlockEnd, "'%}'"); }
  // "%}", statements, "{% end %}".
  absl::StatusOr<Block> BodyTo(const std::string& end) {
    BRAID_RETURN_IF_ERROR(EndTag());
    BRAID_ASSIGN_OR_RETURN(Block body, Body({end}));
    tokens_.Next();
    BRAID_RETURN_IF_ERROR(EndTag());
    return body;
  }

  absl::StatusOr<std::unique_ptr<Stmt>> Statement() {
    auto node = std::make_unique<Stmt>();
    node->position = tokens_.position();
    BRAID_ASSIGN_OR_RETURN(const std::string word, tokens_.ExpectName());
    absl::Status status;
    if (word == "if") {
      status = If(*node);
    } else if (word == "for") {
      status = For(*node);
    } else if (word == "set") {
      status = Set(*node);
    } else if (word == "with") {
      status = With(*node);
    } else if (word == "macro") {
      status = Macro(*node);
    } else if (word == "call") {
      status = CallBlock(*node);
    } else if (word == "filter") {
      node->kind = StmtKind::kFilterBlock;
      BRAID_ASSIGN_OR_RETURN(node->expr, expressions_.Filters(nullptr, true));
      BRAID_ASSIGN_OR_RETURN(node->body, BodyTo("endfilter"));
    } else if (word == "generation") {
      node->kind = StmtKind::kScope;
      BRAID_ASSIGN_OR_RETURN(node->body, BodyTo("endgeneration"));
    } else if (word == "break" || word == "continue") {
      if (loops_ == 0) {
        return ErrorAt(node->position, "'" + word + "' outside of a loop");
      }
      node->kind = word == "break" ? StmtKind::kBreak : StmtKind::kContinue;
      status = EndTag();
    } else {
      return ErrorAt(node->position,
                     "unknown or unsupported tag '" + word + "'");
    }
    BRAID_RETURN_IF_ERROR(status);
    return node;
  }

  absl::Status If(Stmt& node) {
    node.kind = StmtKind::kIf;
    while (true) {
      auto& branch = node.branches.emplace_back();
      BRAID_ASSIGN_OR_RETURN(branch.first, expressions_.Tuple(false));
      BRAID_RETURN_IF_ERROR(EndTag());
      BRAID_ASSIGN_OR_RETURN(branch.second, Body({"elif", "else", "endif"}));
      if (tokens_.SkipName("elif")) continue;
      if (tokens_.SkipName("endif")) return EndTag();
      tokens_.Next();
      auto& otherwise = node.branches.emplace_back();
      BRAID_ASSIGN_OR_RETURN(otherwise.second, BodyTo("endif"));
      return absl::OkStatus();
    }
  }

  absl::Status For(Stmt& node) {
    node.kind = StmtKind::kFor;
    BRAID_ASSIGN_OR_RETURN(node.target, expressions_.Target(false));
    if (!tokens_.SkipName("in")) return tokens_.Unexpected("'in'");
    BRAID_ASSIGN_OR_RETURN(node.expr, expressions_.Tuple(false));
    if (tokens_.SkipName("if")) {
      BRAID_ASSIGN_OR_RETURN(node.condition, expressions_.Expression());
    }
    if (tokens_.IsName("recursive")) {
      return ErrorAt(tokens_.position(), "recursive loops are not supported");
    }
    BRAID_RETURN_IF_ERROR(EndTag());
    ++loops_;
    BRAID_ASSIGN_OR_RETURN(node.body, Body({"else", "endfor"}));
    --loops_;
    if (tokens_.SkipName("endfor")) return EndTag();
    tokens_.Next();
    BRAID_ASSIGN_OR_RETURN(node.otherwise, BodyTo("endfor"));
    return absl::OkStatus();
  }

  absl::Status Set(Stmt& node) {
    BRAID_ASSIGN_OR_RETURN(node.target, expressions_.Target(true));
    if (tokens_.SkipOperator("=")) {
      node.kind = StmtKind::kSet;
      BRAID_ASSIGN_OR_RETURN(node.expr, expressions_.Tuple());
      return EndTag();
    }
    node.kind = StmtKind::kSetBlock;
    BRAID_ASSIGN_OR_RETURN(node.expr, expressions_.Filters(nullptr, false));
    BRAID_ASSIGN_OR_RETURN(node.body, BodyTo("endset"));
    return absl::OkStatus();
  }

  absl::Status With(Stmt& node) {
    node.kind = StmtKind::kWith;
    while (!tokens_.Is(TokenKind::kBlockEnd)) {
      if (!node.assignments.empty()) {
        BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      }
      auto& assignment = node.assignments.emplace_back();
      BRAID_ASSIGN_OR_RETURN(assignment.first, expressions_.Target(false));
      BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator("="));
      BRAID_ASSIGN_OR_RETURN(assignment.second, expressions_.Expression());
    }
    BRAID_ASSIGN_OR_RETURN(node.body, BodyTo("endwith"));
    return absl::OkStatus();
  }

  absl::Status Parameters(Signature& signature) {
    BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
    while (!tokens_.IsOperator(")")) {
      if (!signature.parameters.empty()) {
        BRAID_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      }
      const Position position = tokens_.position();
      BRAID_ASSIGN_OR_RETURN(const std::string name, tokens_.ExpectName());
      const auto& names = signature.parameters;
      if (std::find(names.begin(), names.end(), name) != names.end()) {
        return ErrorAt(position, "the parameter comes twice");
      }
      signature.parameters.push_back(name);
      if (tokens_.SkipOperator("=")) {
        BRAID_ASSIGN_OR_RETURN(signature.defaults.emplace_back(),
                               expressions_.Expression());
      } else if (!signature.defaults.empty()) {
        return ErrorAt(position, "a parameter without default after one with");
      }
    }
    tokens_.Next();
    return absl::OkStatus();
  }

  // The body of a macro or a call block, and which names it reads.
  absl::Status Callable(Stmt& node, const std::string& end) {
    std::vector<std::string> outer = expressions_.TakeNames();
    expressions_.names().clear();
    const int loops = std::exchange(loops_, 0);
    BRAID_ASSIGN_OR_RETURN(node.body, BodyTo(end));
    loops_ = loops;
    std::vector<std::string> inner = expressions_.TakeNames();
    const auto uses = [&](const char* name) {
      const auto& parameters = node.signature.parameters;
      return std::find(inner.begin(), inner.end(), name) != inner.end() &&
             std::find(parameters.begin(), parameters.end(), name) ==
                 parameters.end();
    };
    node.signature.uses_caller = uses("caller");
    node.signature.uses_varargs = uses("varargs");
    node.signature.uses_kwargs = uses("kwargs");
    outer.insert(outer.end(), inner.begin(), inner.end());
    expressions_.names() = std::move(outer);
    return absl::OkStatus();
  }

  absl::Status Macro(Stmt& node) {
    node.kind = StmtKind::kMacro;
    BRAID_ASSIGN_OR_RETURN(node.signature.name, tokens_.ExpectName());
    BRAID_RETURN_IF_ERROR(Parameters(node.signature));
    return Callable(node, "endmacro");
  }

  absl::Status CallBlock(Stmt& node) {
    node.kind = StmtKind::kCallBlock;
    node.signature.name = "caller";
    if (tokens_.IsOperator("(")) {
      BRAID_RETURN_IF_ERROR(Parameters(node.signature));
    }
    BRAID_ASSIGN_OR_RETURN(node.expr, expressions_.Expression());
    if (node.expr->kind != ExprKind::kCall) {
      return ErrorAt(node.position, "expected a call");
    }
    return Callable(node, "endcall");
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source) {
  constexpr size_t kMaxSource = size_t{1} << 20;
  if (source.size() > kMaxSource) {
    return absl::InvalidArgumentError("the chat template exceeds 1 MiB");
  }
  if (!IsUtf8(source)) {
    return absl::InvalidArgumentError("the chat template is not UTF-8");
  }
  BRAID_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace braid::jinja
