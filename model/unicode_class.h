// The character classes that pre-tokenizers split by.
//
// They come from a generated table (unicode_classes.inc) and not from the
// system's Unicode library: token ids must be the same on every distribution.
#pragma once

#include <array>
#include <cstdint>

namespace braid {

enum class CharClass : uint8_t {
  kOther,
  kLetter,  // \p{L}
  kNumber,  // \p{N}
  kSpace,   // \s
  // Numbers of a newer Unicode than the regex engine of the reference knows:
  // its Digits step (smollm) cuts them out, for its regexes they are kOther.
  kDigitsOnly,
};

// Two stages: blocks of 256 code points, equal blocks stored once (74 KB).
class CharClassTable {
 public:
  // Built at the first call; thread-safe.
  static const CharClassTable& Get();

  // code_point <= 0x10FFFF
  CharClass Of(uint32_t code_point) const {
    return blocks_[block_[code_point >> 8]][code_point & 0xFF];
  }

 private:
  using Block = std::array<CharClass, 256>;
  static constexpr int kMaxBlocks = 256;

  CharClassTable();

  std::array<uint8_t, 0x1100> block_{};
  std::array<Block, kMaxBlocks> blocks_{};
};

}  // namespace braid
