#include "model/jinja/unicode.h"

#include <utf8proc.h>

namespace braid::jinja {

Character CharacterAt(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1, true};
  utf8proc_int32_t code = 0;
  const utf8proc_ssize_t length = utf8proc_iterate(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
      static_cast<utf8proc_ssize_t>(text.size() - at), &code);
  if (length <= 0) return {lead, 1, false};
  return {static_cast<char32_t>(code), static_cast<size_t>(length), true};
}

void AppendCharacter(char32_t code, std::string& out) {
  utf8proc_uint8_t buffer[4];
  const auto length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), buffer);
  out.append(reinterpret_cast<const char*>(buffer),
             static_cast<size_t>(length));
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Character c = CharacterAt(text, i);
    if (!c.valid) return false;
    i += c.length;
  }
  return true;
}

size_t CountCharacters(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += CharacterAt(text, i).length) ++count;
  return count;
}

bool IsSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) ||
         code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool IsPrintable(char32_t code) {
  if (code == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool IsLetter(char32_t code) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool IsDigit(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code)) ==
         UTF8PROC_CATEGORY_ND;
}
bool IsUpper(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code)) ==
         UTF8PROC_CATEGORY_LU;
}
bool IsLower(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code)) ==
         UTF8PROC_CATEGORY_LL;
}

char32_t ToUpper(char32_t code) {
  return static_cast<char32_t>(
      utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}
char32_t ToLower(char32_t code) {
  return static_cast<char32_t>(
      utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
char32_t ToTitle(char32_t code) {
  return static_cast<char32_t>(
      utf8proc_totitle(static_cast<utf8proc_int32_t>(code)));
}

size_t SkipSpace(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Character c = CharacterAt(text, begin);
    if (!c.valid || !IsSpace(c.code)) break;
    begin += c.length;
  }
  return begin;
}

size_t SkipSpaceBack(std::string_view text, size_t begin, size_t end) {
  while (end > begin) {
    size_t start = end - 1;
    while (start > begin && (text[start] & 0xC0) == 0x80) --start;
    const Character c = CharacterAt(text.substr(0, end), start);
    if (!c.valid || start + c.length != end || !IsSpace(c.code)) break;
    end = start;
  }
  return end;
}

}  // namespace braid::jinja
