// UTF-8 one character at a time, with the error rule of the Unicode standard
// (and of Python and Rust): a maximal invalid subpart is one error, which a
// reader sees as one U+FFFD.
#pragma once

#include <cstdint>
#include <string_view>

namespace braid {

struct Utf8Char {
  uint32_t code_point;  // U+FFFD unless valid
  uint8_t length;       // bytes: of the character or of the invalid subpart
  bool valid;
  // Not valid, but more bytes at the end of the text could make it so.
  bool incomplete;
};

inline constexpr uint32_t kReplacementCharacter = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

// The character that starts at text[at]; at < text.size().
inline Utf8Char DecodeUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80) return {lead, 1, true, false};

  // Length, and the range of the second byte: it excludes overlong forms,
  // surrogates and what lies beyond U+10FFFF.
  int length = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if ((lead & 0xF0) == 0xE0) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {kReplacementCharacter, 1, false, false};
  }

  uint32_t code_point = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    const auto read = static_cast<uint8_t>(i);
    if (at + i == text.size()) {
      return {kReplacementCharacter, read, false, true};
    }
    const uint8_t next = byte(at + i);
    if (next < low || next > high) {
      return {kReplacementCharacter, read, false, false};
    }
    code_point = (code_point << 6) | (next & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code_point, static_cast<uint8_t>(length), true, false};
}

}  // namespace braid
