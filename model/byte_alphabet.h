// GPT-2's printable byte alphabet: each byte is spelled as one code point, so
// that vocabularies of byte strings can be files of text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace braid {

// The UTF-8 spelling of a byte: of ' ' it is U+0120.
std::string_view SpellByte(uint8_t byte);

// The bytes that `spelled` spells, or nothing when it holds anything but
// characters of the alphabet.
std::optional<std::string> UnspellBytes(std::string_view spelled);

}  // namespace braid
