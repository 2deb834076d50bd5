// Merges a long word: a doubly linked list of symbols whose pairs wait in
// buckets, one bucket for each rank.
//
// A binary heap of all pairs costs log n cache misses for each merge. But the
// pairs of one rank become known from left to right, so a bucket is a plain
// queue and taking the best pair costs the same whatever the length. Why in
// that order: all places that get to hold the same pair start with the same
// bytes and, as no merge crosses their borders before, go through the same
// merges; of two places at the same point the left one is always served first.
// Ranks with a pair waiting are in a small heap.
//
//   symbols   t h e _ t h e      each symbol: neighbours in the text,
//             |_|     |_|        rank of the pair with its right neighbour,
//   bucket    head -> tail       neighbours in that rank's bucket
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "model/merge_table.h"

namespace braid {

// Working memory of one thread: empty between words, so it is only allocated
// once for a text.
class MergeQueue {
 public:
  // Replaces `tokens[first..]` by what they merge to.
  void Merge(const MergeTable& merges, std::vector<TokenId>& tokens,
             size_t first);

  // Pairs queued and merges done since the queue was made: the work, for tests
  // of linearity.
  uint64_t steps() const { return steps_; }

 private:
  static constexpr int32_t kNone = -1;
  struct Symbol {
    TokenId token;
    int32_t left, right;    // neighbours in the text
    uint32_t rank;          // of the pair (this, right), or kNoRank
    int32_t before, after;  // neighbours in the bucket of `rank`
  };
  struct Bucket {
    int32_t head = kNone;
    int32_t tail = kNone;
    bool ranked = false;  // is in ranks_
  };
  // Position of the left symbol of the best pair, kNone when there is none.
  int32_t Best();
  void MergeAt(const MergeTable& merges, int32_t position);
  // Looks up the pair at `position` and queues it.
  void Enqueue(const MergeTable& merges, int32_t position);
  // Forgets the pair at `position`, if any.
  void Dequeue(int32_t position);

  std::vector<Symbol> symbols_;
  std::vector<Bucket> buckets_;  // by rank; all empty between words
  std::vector<uint32_t> ranks_;  // min-heap of ranks whose bucket may be filled
  uint64_t steps_ = 0;
};

}  // namespace braid
