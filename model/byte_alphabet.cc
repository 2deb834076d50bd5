#include "model/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "model/utf8.h"

namespace braid {
namespace {

// Bytes that are printable in Latin-1 spell themselves, the others are
// numbered from U+0100. All of it needs at most two bytes of UTF-8.
constexpr uint32_t kAlphabetEnd = 0x100 + 68;

struct Alphabet {
  Alphabet() {
    byte_of.fill(-1);
    uint32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) ||
                             (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const uint32_t code_point = printable ? byte : next++;
      byte_of[code_point] = byte;
      if (code_point < 0x80) {
        spelling[byte] = {static_cast<char>(code_point)};
      } else {
        spelling[byte] = {static_cast<char>(0xC0 | code_point >> 6),
                          static_cast<char>(0x80 | (code_point & 0x3F))};
      }
    }
  }

  std::array<std::string, 256> spelling;
  std::array<int, kAlphabetEnd> byte_of;
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

std::string_view SpellByte(uint8_t byte) {
  return TheAlphabet().spelling[byte];
}

std::optional<std::string> UnspellBytes(std::string_view spelled) {
  const Alphabet& alphabet = TheAlphabet();
  std::string bytes;
  for (size_t at = 0; at < spelled.size();) {
    const Utf8Char c = DecodeUtf8(spelled, at);
    if (!c.valid || c.code_point >= kAlphabetEnd ||
        alphabet.byte_of[c.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(alphabet.byte_of[c.code_point]));
    at += c.length;
  }
  return bytes;
}

}  // namespace braid
