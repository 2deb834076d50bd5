#include "model/unicode_class.h"

#include <algorithm>

#include "base/check.h"

namespace braid {
namespace {

struct ClassRange {
  uint32_t first;
  uint32_t last;
  CharClass char_class;
};

constexpr ClassRange kRanges[] = {
#include "model/unicode_classes.inc"
};

}  // namespace

CharClassTable::CharClassTable() {
  int used = 0;
  const ClassRange* range = std::begin(kRanges);
  for (uint32_t index = 0; index < block_.size(); ++index) {
    Block block{};
    for (uint32_t i = 0; i < block.size(); ++i) {
      const uint32_t code_point = (index << 8) | i;
      while (range != std::end(kRanges) && range->last < code_point) ++range;
      if (range != std::end(kRanges) && range->first <= code_point) {
        block[i] = range->char_class;
      }
    }
    const auto end = blocks_.begin() + used;
    const auto known = std::find(blocks_.begin(), end, block);
    block_[index] = static_cast<uint8_t>(known - blocks_.begin());
    if (known == end) {
      BRAID_CHECK(used < kMaxBlocks);
      blocks_[used++] = block;
    }
  }
}

const CharClassTable& CharClassTable::Get() {
  static const CharClassTable table;
  return table;
}

}  // namespace braid
