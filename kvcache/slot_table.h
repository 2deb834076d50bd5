// A hash table of 32-bit item numbers by 64-bit keys that are hashes already.
// The items live elsewhere, in an array, and know their keys. One array of
// slots: open addressing, linear probing, erasing without tombstones, no
// allocation after construction.
//
// A slot keeps the lower half of the key, so that looking past other items and
// moving them costs no look at them.
#pragma once

#include <bit>
#include <cstdint>

#include "base/check.h"
#include "kvcache/huge_vector.h"

namespace braid {

class SlotTable final {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  // At most four of five slots are ever taken.
  explicit SlotTable(uint32_t max_items)
      : slots_(std::bit_ceil(uint64_t{max_items} * 5 / 4 + 2)),
        mask_(slots_.size() - 1) {
    BRAID_CHECK(mask_ <= ~uint32_t{0});
  }

  void Prefetch(uint64_t key) const {
    __builtin_prefetch(&slots_[key & mask_]);
  }
  // An item that may have the key, for prefetching it; or kNone.
  uint32_t Candidate(uint64_t key) const { return slots_[key & mask_].item; }

  // The item with these lower 32 bits for which `matches`, or kNone.
  template <typename Matches>
  uint32_t Find(uint64_t key, Matches matches) const {
    const auto low = static_cast<uint32_t>(key);
    for (uint64_t slot = key & mask_; slots_[slot].item != kNone;
         slot = (slot + 1) & mask_) {
      if (slots_[slot].low == low && matches(slots_[slot].item)) {
        return slots_[slot].item;
      }
    }
    return kNone;
  }

  // REQUIRES: the item is not in the table, and fewer than max_items are.
  void Insert(uint64_t key, uint32_t item) {
    uint64_t slot = key & mask_;
    while (slots_[slot].item != kNone) slot = (slot + 1) & mask_;
    slots_[slot] = {static_cast<uint32_t>(key), item};
  }

  // REQUIRES: the item was inserted with this key.
  void Erase(uint64_t key, uint32_t item) {
    uint64_t hole = key & mask_;
    while (slots_[hole].item != item) {
      BRAID_CHECK(slots_[hole].item != kNone);
      hole = (hole + 1) & mask_;
    }
    // Whatever was pushed behind the hole moves back into it.
    for (uint64_t at = (hole + 1) & mask_; slots_[at].item != kNone;
         at = (at + 1) & mask_) {
      const uint64_t home = slots_[at].low & mask_;
      if (((at - home) & mask_) >= ((at - hole) & mask_)) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole] = {};
  }

  void Clear() { slots_.assign(slots_.size(), {}); }
  size_t bytes() const { return slots_.size() * sizeof(Slot); }

 private:
  struct Slot {
    uint32_t low = 0;
    uint32_t item = kNone;
  };
  HugeVector<Slot> slots_;
  uint64_t mask_;
};

}  // namespace braid
