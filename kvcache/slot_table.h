// A hash table of 26-bit item numbers by 32-bit tags: halves of hashes. The
// items live elsewhere, in an array. Beside an item the table keeps a word of
// its owner's, of 52 bits, so that of several items with one tag the wanted one
// is mostly told without looking at the items.
//
// Buckets of a cache line each, so that an operation touches one line, seldom
// two, and takes one mispredicted branch, seldom more. An item whose bucket is
// full goes to the next one that is not; every bucket that it passed counts it,
// and a search ends at a bucket that nobody passed. Nothing ever moves, erasing
// leaves no tombstone, nothing is allocated after construction.
//
// Thread safety: not thread-safe; its owner's thread.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/check.h"
#include "kvcache/huge_vector.h"

namespace braid {

class SlotTable final {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr int kItemBits = 26, kWordBits = 2 * kItemBits;
  static constexpr uint64_t kNoWord = (uint64_t{1} << kWordBits) - 1;

  struct Entry {
    uint32_t item = kNone;
    uint64_t word = kNoWord;
  };

  explicit SlotTable(uint32_t max_items)
      : buckets_(uint64_t{max_items} * 2 / kWantedInTwo + 1) {
    BRAID_CHECK(max_items < kMostItems);
  }

  // A search in pieces, for who knows well before what will be searched: each
  // piece asks for the memory that the next one reads. They branch where an
  // item is in neither of the first two buckets of its search, one time in
  // three hundred: a mispredicted branch waits for the memory.

  // The bucket that the item should be in.
  uint64_t FirstBucket(uint32_t tag) const {
    const uint64_t at = Home(tag);
    __builtin_prefetch(&buckets_[at]);
    return at;
  }
  // The bucket after it, if it is not there.
  uint64_t SecondBucket(uint64_t first, uint32_t tag) const {
    const Bucket& bucket = buckets_[first];
    const uint64_t further = uint64_t{bucket.passed > 0} &
                             uint64_t{bucket.Equal(tag) == 0} &
                             uint64_t{first + 1 < buckets_.size()};
    const uint64_t at = first + further;
    __builtin_prefetch(&buckets_[at]);
    return at;
  }
  // An item from this bucket on that has the tag, or one time in 65,536 another
  // one.
  Entry Candidate(uint64_t second, uint32_t tag) const {
    for (uint64_t at = second;; at = Next(at)) {
      const Bucket& bucket = buckets_[at];
      const uint32_t equal = bucket.Equal(tag);
      if (equal != 0) [[likely]] {
        return bucket.Get(std::countr_zero(equal));
      }
      if (bucket.passed == 0) return {};
    }
  }

  void Prefetch(uint32_t tag) const { FirstBucket(tag); }

  // The item with this tag and word for which `matches`, or kNone.
  template <typename Matches>
  uint32_t Find(uint32_t tag, uint64_t word, Matches matches) const {
    for (uint64_t at = Home(tag);; at = Next(at)) {
      const Bucket& bucket = buckets_[at];
      for (uint32_t equal = bucket.Equal(tag); equal != 0; equal &= equal - 1) {
        const Entry entry = bucket.Get(std::countr_zero(equal));
        if (entry.word == word && matches(entry.item)) return entry.item;
      }
      if (bucket.passed == 0) return kNone;
    }
  }

  // REQUIRES: the item is not in the table, and fewer than max_items are.
  void Insert(uint32_t tag, uint32_t item, uint64_t word) {
    uint64_t at = Home(tag);
    for (; buckets_[at].taken == kFull; at = Next(at)) ++buckets_[at].passed;
    Bucket& bucket = buckets_[at];
    const int slot = std::countr_one(uint32_t{bucket.taken});
    bucket.taken |= 1u << slot;
    bucket.tags[slot] = static_cast<uint16_t>(tag);
    bucket.Set(slot, {item, word});
  }

  // REQUIRES: the item was inserted with this tag.
  void Erase(uint32_t tag, uint32_t item) {
    for (uint64_t at = Home(tag);; at = Next(at)) {
      Bucket& bucket = buckets_[at];
      for (uint32_t equal = bucket.Equal(tag); equal != 0; equal &= equal - 1) {
        const int slot = std::countr_zero(equal);
        if (bucket.Get(slot).item != item) continue;
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
  static constexpr int kSlots = 5;
  static constexpr uint32_t kFull = (1u << kSlots) - 1;
  // Items in two buckets: one item in forty finds its bucket full then, one in
  // three hundred the next one too. With six, which takes a sixth less memory,
  // twice and three times as many do, and storing and evicting blocks is an
  // eighth slower for the mispredicted branches.
  static constexpr uint32_t kWantedInTwo = 5;
  static constexpr uint32_t kMostItems = 1u << kItemBits;

  struct alignas(64) Bucket {
    // Lower halves: the upper ones said which bucket it is.
    std::array<uint16_t, kSlots> tags = {};
    // Upper bits of words, above the lower ones and the item in `low`.
    std::array<uint16_t, kSlots> high = {};
    uint32_t taken : kSlots = 0;        // a bit per slot
    uint32_t passed : 32 - kSlots = 0;  // items that are further on
    std::array<uint64_t, kSlots> low = {};

    Entry Get(int slot) const {
      const uint64_t item = low[slot] & (kMostItems - 1);
      return {
          static_cast<uint32_t>(item),
          low[slot] >> kItemBits | uint64_t{high[slot]} << (64 - kItemBits)};
    }
    void Set(int slot, Entry entry) {
      low[slot] = entry.word << kItemBits | entry.item;
      high[slot] = static_cast<uint16_t>(entry.word >> (64 - kItemBits));
    }

    // Bits of the slots that may have this tag; without a branch.
    uint32_t Equal(uint32_t tag) const {
#ifdef __SSE2__
      const __m128i same = _mm_cmpeq_epi16(
          _mm_load_si128(reinterpret_cast<const __m128i*>(this)),
          _mm_set1_epi16(static_cast<int16_t>(tag)));
      return taken & static_cast<uint32_t>(
                         _mm_movemask_epi8(_mm_packs_epi16(same, same)));
#else
      uint32_t equal = 0;
      for (int i = 0; i < kSlots; ++i) {
        equal |= uint32_t{tags[i] == static_cast<uint16_t>(tag)} << i;
      }
      return taken & equal;
#endif
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
