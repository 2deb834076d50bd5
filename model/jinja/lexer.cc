#include "model/jinja/lexer.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

bool IsNameByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         (c & 0x80);
}
bool IsDigitByte(char c) { return c >= '0' && c <= '9'; }

// Line ends become \n, and one at the very end goes.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {
    line_starts_.push_back(0);
    for (size_t i = 0; i < source_.size(); ++i) {
      if (source_[i] == '\n') line_starts_.push_back(i + 1);
    }
  }

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) {
      const size_t tag = FindTag();
      if (tag == std::string::npos) {
        Emit(TokenKind::kData, source_.substr(at_), at_);
        break;
      }
      const size_t data = at_;
      at_ = tag + 2;
      const char sign = TakeSign();
      const bool block = source_[tag + 1] == '%';
      const bool variable = source_[tag + 1] == '{';
      EmitData(data, tag, sign, !variable);
      if (block && TakeRawBegin()) {
        BRAID_RETURN_IF_ERROR(Raw(tag));
      } else if (block) {
        Emit(TokenKind::kBlockBegin, "{%", tag);
        BRAID_RETURN_IF_ERROR(Inside("%}", TokenKind::kBlockEnd, tag));
      } else if (variable) {
        Emit(TokenKind::kVariableBegin, "{{", tag);
        BRAID_RETURN_IF_ERROR(Inside("}}", TokenKind::kVariableEnd, tag));
      } else {
        BRAID_RETURN_IF_ERROR(Comment(tag));
      }
      line_starting_ = source_[at_ - 1] == '\n';
    }
    Emit(TokenKind::kEnd, "", source_.size());
    return std::move(tokens_);
  }

 private:
  size_t FindTag() const {
    for (size_t i = at_; i + 1 < source_.size(); ++i) {
      if (source_[i] != '{') continue;
      const char next = source_[i + 1];
      if (next == '%' || next == '{' || next == '#') return i;
    }
    return std::string::npos;
  }

  char TakeSign() {
    if (at_ >= source_.size()) return 0;
    const char c = source_[at_];
    if (c != '-' && c != '+') return 0;
    ++at_;
    return c;
  }

  // Text before a tag. `lstrip`: white space between the start of the line and
  // the tag goes.
  void EmitData(size_t begin, size_t end, char sign, bool lstrip) {
    if (sign == '-') {
      end = SkipSpaceBack(source_, begin, end);
    } else if (sign != '+' && lstrip) {
      size_t line = end;
      while (line > begin && source_[line - 1] != '\n') --line;
      const bool at_line_start = line > begin || line_starting_;
      if (at_line_start && SkipSpaceBack(source_, line, end) == line) {
        end = line;
      }
    }
    if (end > begin) {
      Emit(TokenKind::kData, source_.substr(begin, end - begin), begin);
    }
  }

  // After the sign of a block: whether it is {% raw %}; goes past it if so.
  bool TakeRawBegin() {
    size_t i = SkipSpace(source_, at_);
    if (source_.compare(i, 3, "raw") != 0) return false;
    i = SkipSpace(source_, i + 3);
    if (source_.compare(i, 3, "-%}") == 0) {
      at_ = SkipSpace(source_, i + 3);
    } else if (source_.compare(i, 2, "%}") == 0) {
      at_ = i + 2;
    } else {
      return false;
    }
    return true;
  }

  absl::Status Raw(size_t start) {
    line_starting_ = source_[at_ - 1] == '\n';
    const size_t content = at_;
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      at_ = tag + 2;
      const char sign = TakeSign();
      const size_t word = SkipSpace(source_, at_);
      if (source_.compare(word, 6, "endraw") != 0) continue;
      at_ = SkipSpace(source_, word + 6);
      if (!TakeEnd("%}")) continue;
      EmitData(content, tag, sign, true);
      return absl::OkStatus();
    }
    return ErrorAt(At(start), "missing end of raw directive");
  }

  absl::Status Comment(size_t start) {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) {
      return ErrorAt(At(start), "missing end of comment tag");
    }
    const char sign = end > at_ ? source_[end - 1] : 0;
    at_ = end + 2;
    if (sign == '-') {
      at_ = SkipSpace(source_, at_);
    } else if (sign != '+') {
      TrimNewline();
    }
    return absl::OkStatus();
  }

  void TrimNewline() {
    if (at_ < source_.size() && source_[at_] == '\n') ++at_;
  }

  // The end of a tag here, with its white space control.
  bool TakeEnd(std::string_view end) {
    const bool block = end == "%}";
    const char sign = at_ < source_.size() ? source_[at_] : 0;
    const bool strip = sign == '-';
    const bool keep = sign == '+' && block;
    const size_t from = at_ + (strip || keep ? 1 : 0);
    if (source_.compare(from, 2, end) != 0) return false;
    at_ = from + 2;
    if (strip) {
      at_ = SkipSpace(source_, at_);
    } else if (!keep && block) {
      TrimNewline();
    }
    return true;
  }

  absl::Status Inside(std::string_view end, TokenKind end_kind, size_t start) {
    std::string open;  // brackets, so that "}}" may close two dicts
    while (true) {
      at_ = SkipSpace(source_, at_);
      if (at_ >= source_.size()) {
        return ErrorAt(At(start), absl::StrCat("the tag is never closed with ",
                                               std::string(end)));
      }
      const size_t from = at_;
      if (open.empty() && TakeEnd(end)) {
        Emit(end_kind, std::string(end), from);
        return absl::OkStatus();
      }
      const char c = source_[at_];
      if (IsDigitByte(c)) {
        Number();
      } else if (IsNameByte(c)) {
        while (at_ < source_.size() && IsNameByte(source_[at_])) ++at_;
        Emit(TokenKind::kName, source_.substr(from, at_ - from), from);
      } else if (c == '\'' || c == '"') {
        BRAID_RETURN_IF_ERROR(String());
      } else {
        BRAID_RETURN_IF_ERROR(Operator(open));
      }
    }
  }

  absl::Status Operator(std::string& open) {
    static constexpr std::string_view kTwo[] = {
        "//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kOne = "+-*/%~[](){}><=.:|,;";
    std::string text = source_.substr(at_, 2);
    if (std::find(std::begin(kTwo), std::end(kTwo), text) == std::end(kTwo)) {
      text.resize(1);
      if (kOne.find(text[0]) == std::string_view::npos) {
        return ErrorAt(At(at_), "unexpected character");
      }
    }
    if (text == "(") open += ')';
    if (text == "[") open += ']';
    if (text == "{") open += '}';
    if (text == ")" || text == "]" || text == "}") {
      if (open.empty() || open.back() != text[0]) {
        return ErrorAt(At(at_), "unexpected '" + text + "'");
      }
      open.pop_back();
    }
    Emit(TokenKind::kOperator, text, at_);
    at_ += text.size();
    return absl::OkStatus();
  }

  // Digits with single underscores between them.
  size_t Digits(size_t from, bool (*is_digit)(char)) const {
    size_t i = from;
    while (i < source_.size() &&
           (is_digit(source_[i]) ||
            (source_[i] == '_' && i > from && i + 1 < source_.size() &&
             is_digit(source_[i + 1])))) {
      ++i;
    }
    return i;
  }

  void Number() {
    const size_t from = at_;
    const auto at = [&](size_t i) {
      return i < source_.size() ? absl::ascii_tolower(source_[i]) : '\0';
    };
    if (source_[from] == '0' &&
        (at(from + 1) == 'x' || at(from + 1) == 'o' || at(from + 1) == 'b')) {
      const char base = at(from + 1);
      const size_t first = from + 2 + (at(from + 2) == '_' ? 1 : 0);
      const size_t end = Digits(first, base == 'x'   ? +[](char c) {
        return absl::ascii_isxdigit(static_cast<unsigned char>(c));
      } : base == 'o' ? +[](char c) { return c >= '0' && c <= '7'; }
                      : +[](char c) { return c == '0' || c == '1'; });
      if (end > first) return Take(TokenKind::kInteger, from, end);
    }
    size_t end = Digits(from, IsDigitByte);
    TokenKind kind = TokenKind::kInteger;
    const bool after_dot = from > 0 && source_[from - 1] == '.';
    if (!after_dot && at(end) == '.' && IsDigitByte(at(end + 1))) {
      end = Digits(end + 1, IsDigitByte);
      kind = TokenKind::kFloat;
    }
    if (!after_dot && at(end) == 'e') {
      const size_t digits =
          end + 1 + (at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0);
      if (IsDigitByte(at(digits))) {
        end = Digits(digits, IsDigitByte);
        kind = TokenKind::kFloat;
      }
    }
    if (kind == TokenKind::kInteger && source_[from] == '0') {
      // "007" is not a number: 00, then 7.
      end = Digits(from, [](char c) { return c == '0'; });
    }
    Take(kind, from, end);
  }

  void Take(TokenKind kind, size_t from, size_t end) {
    std::string text = source_.substr(from, end - from);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    Emit(kind, std::move(text), from);
    at_ = end;
  }

  absl::Status String() {
    const size_t from = at_;
    const char quote = source_[at_++];
    std::string text;
    while (at_ < source_.size() && source_[at_] != quote) {
      if (source_[at_] == '\\' && at_ + 1 < source_.size()) {
        BRAID_RETURN_IF_ERROR(Escape(text));
      } else {
        text += source_[at_++];
      }
    }
    if (at_ >= source_.size()) {
      return ErrorAt(At(from), "the string is never closed");
    }
    ++at_;
    Emit(TokenKind::kString, std::move(text), from);
    return absl::OkStatus();
  }

  // Python's escapes of a str literal; an unknown one stays as written.
  absl::Status Escape(std::string& out) {
    const size_t from = at_;
    const char c = source_[at_ + 1];
    at_ += 2;
    static constexpr std::string_view kFrom = "\\'\"abfnrtv";
    static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t i = kFrom.find(c); i != std::string_view::npos) {
      out += kTo[i];
      return absl::OkStatus();
    }
    if (c == '\n') return absl::OkStatus();
    if (c >= '0' && c <= '7') {
      char32_t code = static_cast<char32_t>(c - '0');
      for (int i = 0; i < 2 && at_ < source_.size() && source_[at_] >= '0' &&
                      source_[at_] <= '7';
           ++i) {
        code = code * 8 + static_cast<char32_t>(source_[at_++] - '0');
      }
      AppendCharacter(code, out);
      return absl::OkStatus();
    }
    if (c == 'N') return ErrorAt(At(from), "\\N{...} is not supported");
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      out += '\\';
      out += c;
      return absl::OkStatus();
    }
    char32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char d = at_ < source_.size() ? source_[at_] : 0;
      if (!absl::ascii_isxdigit(static_cast<unsigned char>(d))) {
        return ErrorAt(At(from), "the escape needs more hexadecimal digits");
      }
      code = code * 16 +
             static_cast<char32_t>(
                 IsDigitByte(d)
                     ? d - '0'
                     : absl::ascii_tolower(static_cast<unsigned char>(d)) -
                           'a' + 10);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      return ErrorAt(At(from), "the escape is not a character");
    }
    AppendCharacter(code, out);
    return absl::OkStatus();
  }

  void Emit(TokenKind kind, std::string text, size_t from) {
    tokens_.push_back({kind, std::move(text), At(from)});
  }

  Position At(size_t offset) const {
    const auto next =
        std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
    const auto line = next - line_starts_.begin();
    return {static_cast<int>(line), static_cast<int>(offset - *(next - 1)) + 1};
  }

  const std::string source_;
  std::vector<size_t> line_starts_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool line_starting_ = true;  // the last tag ended a line, or none was yet
};

}  // namespace

absl::Status ErrorAt(Position position, const std::string& message) {
  return absl::InvalidArgumentError(
      absl::StrCat("chat template, line ", position.line, ", column ",
                   position.column, ": ", message));
}

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

}  // namespace braid::jinja
