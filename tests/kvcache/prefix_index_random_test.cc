// Random life of many sequences over a small pool, beside a naive twin: a map
// from whole prefixes to blocks. Who leaves first the twin knows under LRU
// only, from a list of cached blocks; otherwise it sees who left, and knows
// whether they might. All else it knows itself.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kvcache/block_lease.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "tests/kvcache/random_operations.h"

namespace braid {
namespace {

using enum BlockState;

constexpr uint32_t kCapacity = 20;
constexpr uint32_t kBlockTokens = 2;
constexpr uint32_t kMaxTokens = 14;

using Tokens = std::vector<TokenId>;
// What the KV of a block depends on: the seed, and all tokens up to its end.
using Content = std::pair<uint64_t, Tokens>;

Content ContentOf(uint64_t seed, const Tokens& tokens, size_t block) {
  const size_t end = std::min(tokens.size(), (block + 1) * kBlockTokens);
  return {seed, Tokens(tokens.begin(), tokens.begin() + end)};
}

class RandomIndexTest {
 public:
  RandomIndexTest(uint64_t seed, const EvictionConfig& eviction, int tag_bits)
      : lru_order_(eviction.order == EvictionOrder::kLru),
        rng_(seed),
        index_(pool_, kBlockTokens, eviction, tag_bits) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      Step();
      Compare();
    }
  }

 private:
  struct Sequence {
    uint64_t seed = 0;
    Tokens tokens;
    BlockTable table;
  };

  TokenId AnyToken() { return static_cast<TokenId>(rng_.Below(3)); }

  void Step() {
    switch (rng_.Below(8)) {
      case 0:
      case 1:
        return Start();
      case 2:
      case 3:
      case 4:
        return Extend();
      case 5:
        if (!sequences_.empty()) Finish(rng_.Below(sequences_.size()));
        return;
      case 6:
        return Lease();
      default:
        // A table that is published again after Clear may exchange a block
        // that is leased; the twin does not know the order that this leads to.
        if (rng_.Below(50) == 0 && (!lru_order_ || leases_.empty())) {
          if (lru_order_) sequences_.clear();
          index_.Clear();
          cleared_ = true;
          published_.clear();
          lru_.clear();
        } else if (!leases_.empty()) {
          const size_t which = rng_.Below(leases_.size());
          const auto blocks = leases_[which].blocks();
          const std::vector<BlockId> ended(blocks.rbegin(), blocks.rend());
          leases_.erase(leases_.begin() + which);
          UpdateLru(ended);
        }
    }
  }

  void Start() {
    if (sequences_.size() >= 5) return;
    Sequence s{.seed = rng_.Below(2)};
    for (uint64_t n = 1 + rng_.Below(kMaxTokens); n > 0; --n) {
      s.tokens.push_back(AnyToken());
    }
    const PrefixMatch match = index_.Match(s.seed, s.tokens);
    CheckMatch(s, match);
    s.table = pool_.Share(match.blocks);
    sequences_.push_back(std::move(s));
    UpdateLru({});
    ComputeOrFinish(sequences_.size() - 1);
  }

  void CheckMatch(const Sequence& s, const PrefixMatch& match) {
    EXPECT_EQ(match.tokens, match.blocks.size() * kBlockTokens);
    EXPECT_LE(match.tokens, s.tokens.size());
    for (size_t i = 0; i < match.blocks.size(); ++i) {
      EXPECT_EQ(content_.at(match.blocks[i]), ContentOf(s.seed, s.tokens, i));
    }
    size_t expected = 0;
    while ((expected + 1) * kBlockTokens <= s.tokens.size() &&
           published_.contains(ContentOf(s.seed, s.tokens, expected))) {
      ++expected;
    }
    EXPECT_EQ(match.blocks.size(), expected);
  }

  void Extend() {
    if (sequences_.empty()) return;
    const size_t which = rng_.Below(sequences_.size());
    Sequence& s = sequences_[which];
    if (s.tokens.size() == kMaxTokens) return;
    s.tokens.push_back(AnyToken());
    ComputeOrFinish(which);
  }

  void ComputeOrFinish(size_t which) {
    if (!Compute(sequences_[which])) Finish(which);
  }

  // Takes blocks, writes the KV of all tokens and publishes it.
  bool Compute(Sequence& s) {
    const size_t needed = (s.tokens.size() + kBlockTokens - 1) / kBlockTokens;
    const auto more = static_cast<uint32_t>(needed - s.table.blocks().size());
    const bool possible = more <= index_.available();
    EXPECT_EQ(index_.MakeRoom(more), possible);
    if (!possible) return false;
    SeeWhoLeft(more);
    EXPECT_TRUE(pool_.Reserve(s.table, more));
    const uint32_t first = s.table.used();
    s.table.UseUpTo(static_cast<uint32_t>(needed));
    for (size_t i = first > 0 ? first - 1 : 0; i < needed; ++i) {
      content_[s.table.blocks()[i]] = ContentOf(s.seed, s.tokens, i);
    }
    index_.Publish(s.seed, s.tokens, s.table);
    for (size_t i = 0; (i + 1) * kBlockTokens <= s.tokens.size(); ++i) {
      const auto [known, added] = published_.emplace(
          ContentOf(s.seed, s.tokens, i), s.table.blocks()[i]);
      EXPECT_EQ(known->second, s.table.blocks()[i]) << "kept twice";
    }
    UpdateLru({});
    return true;
  }

  void SeeWhoLeft(uint32_t wanted_free) {
    DeriveStates();
    const auto free = static_cast<size_t>(std::ranges::count(states_, kFree));
    std::vector<Content> left;
    std::vector<BlockId> ids;
    for (const auto& [content, id] : published_) {
      if (states_[id.value()] == kCached && pool_.state(id) == kFree) {
        left.push_back(content);
        ids.push_back(id);
      }
    }
    EXPECT_EQ(free + left.size(), std::max<size_t>(free, wanted_free));
    if (lru_order_ && lru_.size() >= ids.size()) {
      std::vector<BlockId> oldest(lru_.begin(), lru_.begin() + ids.size());
      std::ranges::sort(oldest);
      std::ranges::sort(ids);
      EXPECT_EQ(ids, oldest);
    }
    // What continues them is not findable either. It may only still be there
    // because a transfer reads it; or, once the index was cleared, because a
    // sequence uses it that has another copy of what is before it.
    for (const Content& content : left) {
      std::erase_if(published_, [&](const auto& entry) {
        const auto& [other, id] = entry;
        const bool continues =
            other.first == content.first &&
            other.second.size() >= content.second.size() &&
            std::equal(content.second.begin(), content.second.end(),
                       other.second.begin());
        EXPECT_TRUE(!continues || pool_.state(id) == kFree ||
                    pool_.state(id) == kSending ||
                    (cleared_ && pool_.state(id) == kUsed))
            << "a root was evicted before its leaf";
        return continues;
      });
    }
    UpdateLru({});
  }

  void Finish(size_t which) {
    const auto blocks = sequences_[which].table.blocks();
    const std::vector<BlockId> released(blocks.rbegin(), blocks.rend());
    sequences_.erase(sequences_.begin() + which);
    UpdateLru(released);
  }

  void Lease() {
    if (sequences_.empty() || leases_.size() >= 3) return;
    const Sequence& s = sequences_[rng_.Below(sequences_.size())];
    // The twin's LRU knows whole tables only; parts are for the other form.
    const size_t from = lru_order_ ? 0 : rng_.Below(s.table.used() + 1);
    leases_.push_back(
        pool_.BeginSend(s.table.blocks().first(s.table.used()).subspan(from)));
  }

  // States derived from who holds what; `released` became ownerless in order.
  void UpdateLru(const std::vector<BlockId>& released) {
    if (!lru_order_) return;
    DeriveStates();
    std::erase_if(lru_,
                  [&](BlockId id) { return states_[id.value()] != kCached; });
    for (BlockId id : released) {
      if (states_[id.value()] == kCached) lru_.push_back(id);
    }
  }

  void DeriveStates() {
    states_.assign(kCapacity, kFree);
    for (const auto& [content, id] : published_) states_[id.value()] = kCached;
    for (const Sequence& s : sequences_) {
      for (BlockId id : s.table.blocks()) states_[id.value()] = kUsed;
    }
    for (const SendLease& lease : leases_) {
      for (BlockId id : lease.blocks()) states_[id.value()] = kSending;
    }
  }

  void Compare() {
    pool_.CheckInvariants();
    index_.CheckInvariants();
    for (const Sequence& s : sequences_) {
      for (size_t i = 0; i < s.table.blocks().size(); ++i) {
        EXPECT_EQ(content_.at(s.table.blocks()[i]),
                  ContentOf(s.seed, s.tokens, i));
      }
    }
    DeriveStates();
    for (uint32_t i = 0; i < kCapacity; ++i) {
      EXPECT_EQ(pool_.state(BlockId(i)), states_[i]) << "block " << i;
    }
  }

  const bool lru_order_;
  bool cleared_ = false;
  Rng rng_;
  BlockPool pool_{PoolId(0), kCapacity};
  PrefixIndex index_;
  std::vector<Sequence> sequences_;
  std::vector<SendLease> leases_;
  // The twin.
  std::map<BlockId, Content> content_;
  std::map<Content, BlockId> published_;
  std::vector<BlockId> lru_;
  std::vector<BlockState> states_ = std::vector<BlockState>(kCapacity, kFree);
};

void RunSeeds(const EvictionConfig& eviction, int tag_bits = 32) {
  const int operations = RandomOperations(10'000);
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomIndexTest(seed, eviction, tag_bits).Run(operations / 10);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(PrefixIndexRandomTest, LruAgreesWithANaiveTwin) {
  RunSeeds({.order = EvictionOrder::kLru});
}

TEST(PrefixIndexRandomTest, CollisionsChangeNoAnswer) {
  RunSeeds({.order = EvictionOrder::kLru}, 3);
}

TEST(PrefixIndexRandomTest, ExpectedReuseAgreesWithANaiveTwin) {
  RunSeeds({.order = EvictionOrder::kExpectedReuse});
}

TEST(PrefixIndexRandomTest, ExpectedReuseOfASampleAndAShortHistory) {
  RunSeeds({.order = EvictionOrder::kExpectedReuse, .sample = 3, .history = 40},
           3);
}

}  // namespace
}  // namespace braid
