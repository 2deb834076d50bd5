#include "model/pre_tokenizer.h"

#include "model/utf8.h"

namespace braid {
namespace {

constexpr bool IsNewline(char c) { return c == '\r' || c == '\n'; }

constexpr char AsciiLower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

inline WordSplitter::Char WordSplitter::At(size_t at) const {
  const auto byte = static_cast<uint8_t>(text_[at]);
  if (byte < 0x80) return {classes_.Of(byte), 1};
  const Utf8Char c = DecodeUtf8(text_, at);
  CharClass char_class = classes_.Of(c.code_point);
  if (char_class == CharClass::kDigitsOnly) {
    char_class =
        pre_ == PreTokenizer::kSmolLm ? CharClass::kNumber : CharClass::kOther;
  }
  return {char_class, c.length};
}

inline size_t WordSplitter::RunEnd(size_t at, CharClass char_class) const {
  while (at < text_.size()) {
    const Char c = At(at);
    if (c.char_class != char_class) break;
    at += c.length;
  }
  return at;
}

inline bool WordSplitter::EndsText(size_t at) const {
  if (at == text_.size()) return true;
  // smollm cuts digits out first: what stands before one is a text of its own.
  return pre_ == PreTokenizer::kSmolLm &&
         At(at).char_class == CharClass::kNumber;
}

std::string_view WordSplitter::Next() {
  const size_t begin = at_;
  const bool gpt2 =
      pre_ == PreTokenizer::kGpt2 || pre_ == PreTokenizer::kSmolLm;
  at_ = gpt2 ? Gpt2WordEnd() : LlamaWordEnd();
  return text_.substr(begin, at_ - begin);
}

// Published as
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+
//   |\s+(?!\S)|\s+
size_t WordSplitter::Gpt2WordEnd() const {
  if (text_[at_] == '\'') {
    if (const size_t length = Contraction(/*ignore_case=*/false)) {
      return at_ + length;
    }
  }
  const size_t first = at_ + (text_[at_] == ' ');
  if (first < text_.size()) {
    const Char c = At(first);
    const bool digit = c.char_class == CharClass::kNumber;
    if (digit && pre_ == PreTokenizer::kSmolLm) {
      return first == at_ ? first + c.length : first;
    }
    if (c.char_class != CharClass::kSpace) {
      return RunEnd(first + c.length, c.char_class);
    }
  }
  return SpacesEnd(/*through_newlines=*/false);
}

// Published as
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
//   | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// and for qwen2 with \p{N} in place of \p{N}{1,3}.
size_t WordSplitter::LlamaWordEnd() const {
  if (text_[at_] == '\'') {
    if (const size_t length = Contraction(/*ignore_case=*/true)) {
      return at_ + length;
    }
  }
  const Char c = At(at_);
  size_t end = at_ + c.length;
  if (c.char_class == CharClass::kLetter) {
    return RunEnd(end, CharClass::kLetter);
  }
  if (c.char_class == CharClass::kNumber) {
    const int most = pre_ == PreTokenizer::kLlamaBpe ? 3 : 1;
    for (int digits = 1; digits < most && end < text_.size(); ++digits) {
      const Char next = At(end);
      if (next.char_class != CharClass::kNumber) break;
      end += next.length;
    }
    return end;
  }
  const CharClass next =
      end < text_.size() ? At(end).char_class : CharClass::kSpace;
  if (next == CharClass::kLetter && !IsNewline(text_[at_])) {
    return RunEnd(end, CharClass::kLetter);
  }
  if (c.char_class == CharClass::kOther ||
      (text_[at_] == ' ' && next == CharClass::kOther)) {
    end = RunEnd(end, CharClass::kOther);
    while (end < text_.size() && IsNewline(text_[end])) ++end;
    return end;
  }
  return SpacesEnd(/*through_newlines=*/true);
}

size_t WordSplitter::Contraction(bool ignore_case) const {
  const std::string_view rest = text_.substr(at_ + 1, 2);
  const auto at = [&](size_t i) {
    if (i >= rest.size()) return '\0';
    return ignore_case ? AsciiLower(rest[i]) : rest[i];
  };
  switch (at(0)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return at(1) == 'e' ? 3 : 0;
    case 'l':
      return at(1) == 'l' ? 3 : 0;
    default:
      // U+017F, the long s, is an s for whoever ignores case.
      return ignore_case && rest == "\xC5\xBF" ? 3 : 0;
  }
}

// The word that starts with the spaces at at_:
//   \s+(?!\S)|\s+     and, through_newlines, \s*[\r\n]+ before them.
// All of the run when the text ends there; else the last space is left to the
// next word, unless it is the only one.
size_t WordSplitter::SpacesEnd(bool through_newlines) const {
  size_t end = at_;
  size_t last = at_;         // where the last space of the run starts
  size_t newline_end = at_;  // past the last newline of the run
  while (end < text_.size()) {
    const Char c = At(end);
    if (c.char_class != CharClass::kSpace) break;
    last = end;
    end += c.length;
    if (IsNewline(text_[last])) newline_end = end;
  }
  if (through_newlines && newline_end > at_) return newline_end;
  return EndsText(end) || last == at_ ? end : last;
}

}  // namespace braid
