// The part of PrefixIndex that finds blocks. A match is bound by memory: it
// reads the tokens of each block, and of every second one a bucket of the
// table, which tells of the block before it too; all from anywhere. All keys of
// a sequence are known when it starts, so it asks for memory well before the
// walk along the chain gets there.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kvcache/prefix_index.h"

namespace braid {
namespace {

// A cache line at a time, without a branch in a line.
inline bool SameTokens(const TokenId* a, const TokenId* b, size_t n) {
  typedef uint64_t Piece __attribute__((vector_size(16)));
  constexpr size_t kPiece = sizeof(Piece) / sizeof(TokenId);
  const auto differ = [&](size_t at) {
    Piece x, y;
    std::memcpy(&x, a + at * kPiece, sizeof(x));
    std::memcpy(&y, b + at * kPiece, sizeof(y));
    return x ^ y;
  };
  do {
    if (n < 4 * kPiece) return std::memcmp(a, b, n * sizeof(TokenId)) == 0;
    const Piece any = differ(0) | differ(1) | differ(2) | differ(3);
    if ((any[0] | any[1]) != 0) return false;
    a += 4 * kPiece;
    b += 4 * kPiece;
    n -= 4 * kPiece;
  } while (n > 0);
  return true;
}

}  // namespace

// One Match, along the chain.
class PrefixIndex::Walk {
 public:
  Walk(const PrefixIndex& index, const PrefixKeys& keys,
       std::span<const TokenId> tokens)
      : index_(index),
        keys_(keys),
        tokens_(tokens.data()),
        end_(static_cast<uint32_t>(tokens.size() / index.block_tokens_)),
        last_block_(static_cast<uint32_t>(index.nodes_.size() - 1)) {
    BRAID_CHECK(keys.block_tokens() == index.block_tokens_);
    BRAID_CHECK(end_ <= keys.size());
  }

  // Calls `visit` with each block that is known, from the first one on.
  template <typename Visit>
  void Run(Visit visit) {
    while (at_ < end_ && FollowKeys(visit)) FollowRow(visit);
  }

 private:
  // Blocks are looked for in pairs, by the key of the second one, and pairs in
  // groups.
  static constexpr uint32_t kGroup = 4;
  // So many pairs before the walk needs them, buckets are asked for, the ones
  // that a search goes on in, and tokens: many at a time, since they come from
  // far, but no more than the processor can wait for.
  static constexpr uint32_t kFirstAhead = 32, kSecondAhead = 24,
                            kTokensAhead = 16;
  // Buckets asked for before it is known whether they are needed: the first
  // ones have not come by then, so these cost little.
  static constexpr uint32_t kAskedAtOnce = 24;
  static constexpr uint32_t kRowAhead = 12;  // blocks
  // After so many it is looked again whether blocks lie in a row.
  static constexpr uint32_t kMostScattered = 256;

  // The general case. False: nothing is known behind here. True: at the end, or
  // where the blocks to come seem to lie in a row.
  template <typename Visit>
  bool FollowKeys(Visit visit) {
    begin_ = at_;
    pairs_ = (end_ - begin_ + 1) / 2;
    first_ = second_ = located_ = 0;
    const uint32_t group = Before(kGroup);
    AskForFirst(Before(kAskedAtOnce));
    index_.by_key_.Prefetch(Tag(at_));  // if only one more block is known
    AskForSecond(group);
    AskForTokens(group);
    if (last_ == kRoot) AskForNode(Parent(Candidate(0)));  // has the seed
    if (InRow()) {
      AskForRow(Parent(Candidate(0)));
      return Follow(0, group, visit);
    }
    const uint32_t most = Before(kMostScattered);
    for (uint32_t pair = 0; pair < most; pair += kGroup) {
      AskForFirst(Before(pair + kFirstAhead + kGroup));
      AskForSecond(Before(pair + kSecondAhead + kGroup));
      AskForTokens(Before(pair + kTokensAhead + kGroup));
      if (!Follow(pair, Before(pair + kGroup), visit)) return false;
    }
    return true;
  }

  // Blocks of a sequence were taken from the pool together, and in an aged pool
  // too most of them lie one behind the other: there they need not be searched.
  bool InRow() const {
    uint32_t behind = 0;
    for (uint32_t i = 0; i < located_; ++i) {
      const SlotTable::Entry pair = Candidate(i);
      behind += pair.item == Parent(pair) + 1;
      behind += i > 0 && Parent(pair) == Candidate(i - 1).item + 1;
    }
    return behind >= kGroup;
  }

  template <typename Visit>
  void FollowRow(Visit visit) {
    const TokenId* const known = index_.tokens_.data();
    const size_t n = index_.block_tokens_;
    uint32_t last = last_, at = at_;
    for (const uint32_t end = std::min(end_, at + last_block_ - last); at < end;
         ++at) {
      AskForBlock(last + kRowAhead);
      const uint32_t next = last + 1;
      if (index_.nodes_[next].parent != last ||
          !SameTokens(known + next * n, tokens_ + at * n, n)) {
        break;
      }
      last = next;
      visit(next);
    }
    last_ = last;
    at_ = at;
  }

  // To the pairs from `pair` on, before `end`. False: one is not what is
  // wanted, and what is wanted is not known.
  template <typename Visit>
  bool Follow(uint32_t pair, uint32_t end, Visit visit) {
    const TokenId* const known = index_.tokens_.data();
    const size_t n = index_.block_tokens_;
    uint32_t last = last_, at = at_;
    for (; pair < end; ++pair) {
      const TokenId* const wanted = tokens_ + at * n;
      const SlotTable::Entry next = Candidate(pair);
      const uint32_t parent = Parent(next);
      // Where no candidate was found its word names no blocks.
      if (at + 2 > end_ ||
          next.word >> SlotTable::kItemBits != (last & kIdMask) ||
          (last == kRoot && !HasSeed(parent)) ||
          !SameTokens(known + parent * n, wanted, n) ||
          !SameTokens(known + next.item * n, wanted + n, n)) [[unlikely]] {
        at_ = at;
        last_ = last;
        if (!FindPair(visit)) return false;
        last = last_;
        at = at_;
        continue;
      }
      last = next.item;
      at += 2;
      visit(parent);
      visit(next.item);
    }
    last_ = last;
    at_ = at;
    return true;
  }

  // The next pair, by the key of each. False: they are not both known.
  template <typename Visit>
  bool FindPair(Visit visit) {
    const size_t n = index_.block_tokens_;
    for (const uint32_t end = std::min(at_ + 2, end_); at_ < end; ++at_) {
      const uint32_t block =
          index_.Find(Tag(at_), keys_.seed(), last_, {tokens_ + at_ * n, n});
      if (block == kNone) return false;
      last_ = block;
      visit(block);
    }
    return true;
  }
  bool HasSeed(uint32_t root) const {
    return index_.nodes_[root].seed() == keys_.seed();
  }

  void AskForFirst(uint32_t end) {
    for (; first_ < end; ++first_) {
      buckets_[first_ % kBuckets] =
          static_cast<uint32_t>(index_.by_key_.FirstBucket(TagOfPair(first_)));
    }
  }
  void AskForSecond(uint32_t end) {
    for (; second_ < end; ++second_) {
      uint32_t& bucket = buckets_[second_ % kBuckets];
      bucket = static_cast<uint32_t>(
          index_.by_key_.SecondBucket(bucket, TagOfPair(second_)));
    }
  }
  void AskForTokens(uint32_t end) {
    for (; located_ < end; ++located_) {
      const SlotTable::Entry found = index_.by_key_.Candidate(
          buckets_[located_ % kBuckets], TagOfPair(located_));
      candidates_[located_ % kCandidates] = found;
      if (found.item == kNone) continue;
      index_.PrefetchTokens(std::min(Parent(found), last_block_));
      index_.PrefetchTokens(found.item);
    }
  }
  void AskForRow(uint32_t begin) {
    for (uint32_t i = 0; i < kRowAhead + 2 * kGroup; ++i) {
      AskForBlock(begin + i);
    }
  }
  void AskForBlock(uint32_t block) {
    AskForNode(block);
    index_.PrefetchTokens(std::min(block, last_block_));
  }
  void AskForNode(uint32_t block) {
    __builtin_prefetch(&index_.nodes_[std::min(block, last_block_)]);
  }

  uint32_t Tag(uint32_t i) const { return index_.TagOf(keys_[i]); }
  // Of its second block; the last one may be alone.
  uint32_t TagOfPair(uint32_t pair) const {
    return Tag(std::min(begin_ + 2 * pair + 1, end_ - 1));
  }
  uint32_t Before(uint32_t pair) const { return std::min(pair, pairs_); }
  // A block that has the tag of the pair, and what it stands behind.
  SlotTable::Entry Candidate(uint32_t pair) const {
    return candidates_[pair % kCandidates];
  }
  static uint32_t Parent(SlotTable::Entry entry) {
    return static_cast<uint32_t>(entry.word) & kIdMask;
  }

  const PrefixIndex& index_;
  const PrefixKeys& keys_;
  const TokenId* const tokens_;
  const uint32_t end_;  // full blocks of the tokens
  const uint32_t last_block_;
  uint32_t at_ = 0;        // of the tokens' blocks, the next one to be found
  uint32_t last_ = kRoot;  // the one found before it
  // Pairs are counted from here.
  uint32_t begin_ = 0, pairs_ = 0;
  // Before these everything was asked for.
  uint32_t first_ = 0, second_ = 0, located_ = 0;
  // What came of it: of pair i at i % their size.
  static constexpr uint32_t kBuckets = 64, kCandidates = 32;
  static_assert(kBuckets >= std::max(kFirstAhead + kGroup, kAskedAtOnce));
  static_assert(kCandidates >= kTokensAhead + kGroup);
  std::array<uint32_t, kBuckets> buckets_;
  std::array<SlotTable::Entry, kCandidates> candidates_;
};

PrefixMatch PrefixIndex::Match(const PrefixKeys& keys,
                               std::span<const TokenId> tokens,
                               PrefixMatch reuse) const {
  reuse.blocks.clear();
  Walk(*this, keys, tokens).Run([&](uint32_t block) {
    reuse.blocks.push_back(BlockId(block));
  });
  reuse.tokens = static_cast<uint32_t>(reuse.blocks.size()) * block_tokens_;
  return reuse;
}

PrefixMatch PrefixIndex::Match(uint64_t seed,
                               std::span<const TokenId> tokens) const {
  PrefixKeys keys(seed, block_tokens_);
  keys.Extend(tokens);
  return Match(keys, tokens);
}

uint32_t PrefixIndex::CountMatch(const PrefixKeys& keys,
                                 std::span<const TokenId> tokens) const {
  uint32_t blocks = 0;
  Walk(*this, keys, tokens).Run([&](uint32_t) { ++blocks; });
  return blocks;
}

uint32_t PrefixIndex::Find(uint32_t tag, uint64_t seed, uint32_t parent,
                           std::span<const TokenId> tokens) const {
  return by_key_.Find(tag, WordBehind(parent), [&](uint32_t block) {
    return (parent != kRoot || nodes_[block].seed() == seed) &&
           SameTokens(TokensOf(block).data(), tokens.data(), tokens.size());
  });
}

}  // namespace braid
