// A hash table of 32-bit item numbers by 32-bit tags: halves of hashes. The
// items live elsewhere, in an array. Several may have one tag: who looks for
// one says which it is.
//
// Buckets of a cache line each, so that an operation touches one line, seldom
// two, and takes one mispredicted branch, seldom more. An item whose bucket is
// full goes to the next one that is not; every bucket that it passed counts it,
// and a search ends at a bucket that nobody passed. Nothing ever moves, erasing
// leaves no tombstone, nothing is allocated after construction.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "kvcache/huge_vector.h"

namespace braid {

class SlotTable final {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  explicit SlotTable(uint32_t max_items)
      : buckets_(uint64_t{max_items} / kWantedInBucket + 1) {}

  void Prefetch(uint32_t tag) const {
    __builtin_prefetch(&buckets_[Home(tag)]);
  }

  // An item that has the tag, for prefetching it; or kNone.
  uint32_t Candidate(uint32_t tag) const {
    const Bucket& bucket = buckets_[Home(tag)];
    const uint32_t equal = bucket.Equal(tag);
    return equal == 0 ? kNone : bucket.items[std::countr_zero(equal)];
  }

  // The item with this tag for which `matches`, or kNone.
  template <typename Matches>
  uint32_t Find(uint32_t tag, Matches matches) const {
    for (uint64_t at = Home(tag);; at = Next(at)) {
      const Bucket& bucket = buckets_[at];
      for (uint32_t equal = bucket.Equal(tag); equal != 0; equal &= equal - 1) {
        const uint32_t item = bucket.items[std::countr_zero(equal)];
        if (matches(item)) return item;
      }
      if (bucket.passed == 0) return kNone;
    }
  }

  // REQUIRES: the item is not in the table, and fewer than max_items are.
  void Insert(uint32_t tag, uint32_t item) {
    uint64_t at = Home(tag);
    for (; buckets_[at].taken == kFull; at = Next(at)) ++buckets_[at].passed;
    Bucket& bucket = buckets_[at];
    const int slot = std::countr_one(bucket.taken);
    bucket.taken |= 1u << slot;
    bucket.tags[slot] = tag;
    bucket.items[slot] = item;
  }

  // REQUIRES: the item was inserted with this tag.
  void Erase(uint32_t tag, uint32_t item) {
    for (uint64_t at = Home(tag);; at = Next(at)) {
      Bucket& bucket = buckets_[at];
      for (uint32_t equal = bucket.Equal(tag); equal != 0; equal &= equal - 1) {
        const int slot = std::countr_zero(equal);
        if (bucket.items[slot] != item) continue;
        bucket.taken &= ~(1u << slot);
        return;
      }
      BRAID_CHECK(bucket.passed > 0);
      --bucket.passed;
    }
  }

  void Clear() { buckets_.assign(buckets_.size(), {}); }
  size_t bytes() const { return buckets_.size() * sizeof(Bucket); }

 private:
  static constexpr int kSlots = 7;
  static constexpr uint32_t kFull = (1u << kSlots) - 1;
  // One bucket of eight overflows then.
  static constexpr uint32_t kWantedInBucket = 5;

  struct alignas(64) Bucket {
    std::array<uint32_t, kSlots> tags = {};
    uint32_t taken = 0;  // a bit per slot
    std::array<uint32_t, kSlots> items = {};
    uint32_t passed = 0;  // items that are further on, as this one was full

    // Bits of the slots with this tag; without a branch.
    uint32_t Equal(uint32_t tag) const {
      return taken& [&]<size_t... i>(std::index_sequence<i...>) {
        return ((static_cast<uint32_t>(tags[i] == tag) << i) | ...);
      }
      (std::make_index_sequence<kSlots>());
    }
  };
  static_assert(sizeof(Bucket) == 64);

  uint64_t Home(uint32_t tag) const { return tag * buckets_.size() >> 32; }
  uint64_t Next(uint64_t at) const {
    return at + 1 == buckets_.size() ? 0 : at + 1;
  }

  HugeVector<Bucket> buckets_;
};

}  // namespace braid
