// (left token, right token) -> (rank, merged token).
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace braid {

inline constexpr TokenId kNoToken = -1;

// Open addressing with linear probing at a load of at most one half: this
// look-up is the inner loop of BPE, and the slots of a miss and of a hit are
// one cache line most of the time. Immutable once filled.
class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct Merge {
    uint32_t rank;
    TokenId result;
  };
  static constexpr Merge kNoMerge{kNoRank, kNoToken};

  // Room for `count` merges.
  void Reserve(size_t count) {
    size_t size = 16;
    shift_ = 60;
    while (size < 2 * count) {
      size *= 2;
      --shift_;
    }
    slots_.assign(size, Slot{});
  }

  // Of equal pairs the last one counts (as in the reference).
  void Insert(TokenId left, TokenId right, Merge merge) {
    Slot& slot = slots_[Find(Key(left, right))];
    slot.key = Key(left, right);
    slot.merge = merge;
    if (results_.size() <= merge.rank) results_.resize(merge.rank + 1);
    results_[merge.rank] = merge.result;
  }

  // All ranks are below this.
  size_t ranks() const { return results_.size(); }
  TokenId Result(uint32_t rank) const { return results_[rank]; }

  Merge Lookup(TokenId left, TokenId right) const {
    return slots_[Find(Key(left, right))].merge;
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;  // no pair: ids are >= 0
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge = kNoMerge;
  };

  static uint64_t Key(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
           static_cast<uint32_t>(right);
  }
  size_t Find(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    // Fibonacci hashing, with the left id mixed into the low half first.
    size_t at = (key ^ (key >> 29)) * 0x9E3779B97F4A7C15 >> shift_;
    while (slots_[at].key != key && slots_[at].key != kEmpty) {
      at = (at + 1) & mask;
    }
    return at;
  }

  std::vector<Slot> slots_;
  int shift_ = 60;
  std::vector<TokenId> results_;  // by rank
};

}  // namespace braid
