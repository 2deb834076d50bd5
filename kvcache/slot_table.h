// A hash table of 32-bit item numbers by 64-bit keys that are hashes already.
// The items live elsewhere, in an array, and know their keys; the table is one
// array of numbers: open addressing, linear probing, erasing without
// tombstones, no allocation after construction.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace braid {

class SlotTable final {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  // At most half of the slots are ever taken.
  explicit SlotTable(uint32_t max_items)
      : slots_(std::bit_ceil(uint64_t{max_items} * 2 + 2), kNone),
        mask_(slots_.size() - 1) {}

  void Prefetch(uint64_t key) const {
    __builtin_prefetch(&slots_[key & mask_]);
  }
  // The first item that may have the key, for prefetching it; or kNone.
  uint32_t Candidate(uint64_t key) const { return slots_[key & mask_]; }

  // The item for which `matches`, or kNone.
  template <typename Matches>
  uint32_t Find(uint64_t key, Matches matches) const {
    uint64_t slot = key & mask_;
    while (slots_[slot] != kNone && !matches(slots_[slot])) {
      slot = (slot + 1) & mask_;
    }
    return slots_[slot];
  }

  // REQUIRES: the item is not in the table, and fewer than max_items are.
  void Insert(uint64_t key, uint32_t item) {
    uint64_t slot = key & mask_;
    while (slots_[slot] != kNone) slot = (slot + 1) & mask_;
    slots_[slot] = item;
  }

  // REQUIRES: the item was inserted with this key.
  template <typename KeyOf>
  void Erase(uint64_t key, uint32_t item, KeyOf key_of) {
    uint64_t hole = key & mask_;
    while (slots_[hole] != item) {
      BRAID_CHECK(slots_[hole] != kNone);
      hole = (hole + 1) & mask_;
    }
    // Whatever was pushed behind the hole moves back into it.
    for (uint64_t at = (hole + 1) & mask_; slots_[at] != kNone;
         at = (at + 1) & mask_) {
      const uint64_t home = key_of(slots_[at]) & mask_;
      if (((at - home) & mask_) >= ((at - hole) & mask_)) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole] = kNone;
  }

  void Clear() { slots_.assign(slots_.size(), kNone); }
  size_t bytes() const { return slots_.size() * sizeof(uint32_t); }

 private:
  std::vector<uint32_t> slots_;
  uint64_t mask_;
};

}  // namespace braid
