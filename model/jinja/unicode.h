// Code points in UTF-8, as far as Python's str shows them to a template.
// Bytes that are not UTF-8 count as one character each and pass unchanged.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace braid::jinja {

// The character at `text[at]` and the bytes it takes (at least 1).
struct Character {
  char32_t code = 0;
  size_t length = 1;
  bool valid = true;
};
// REQUIRES: at < text.size().
Character CharacterAt(std::string_view text, size_t at);
void AppendCharacter(char32_t code, std::string& out);
bool IsUtf8(std::string_view text);

size_t CountCharacters(std::string_view text);

// str.isspace, str.isprintable, and the simple case mappings (one character to
// one: the German sharp s has no upper case here).
bool IsSpace(char32_t code);
bool IsPrintable(char32_t code);
bool IsLetter(char32_t code);
bool IsDigit(char32_t code);
bool IsUpper(char32_t code);
bool IsLower(char32_t code);
char32_t ToUpper(char32_t code);
char32_t ToLower(char32_t code);
char32_t ToTitle(char32_t code);

// The part of [0, size) without white space at its start or end.
size_t SkipSpace(std::string_view text, size_t begin);
size_t SkipSpaceBack(std::string_view text, size_t begin, size_t end);

}  // namespace braid::jinja
