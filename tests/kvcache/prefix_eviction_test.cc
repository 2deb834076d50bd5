// What the default eviction order keeps, on workloads that say what is right.
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"

namespace braid {
namespace {

using Tokens = std::vector<TokenId>;

constexpr uint32_t kBlockTokens = 4;
constexpr uint32_t kChain = 8;      // blocks per sequence
constexpr uint32_t kHeadroom = 32;  // of the pool, for the request at hand

Tokens Sequence(TokenId id) {
  Tokens tokens(kChain * kBlockTokens);
  for (uint32_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = id * 1000 + static_cast<TokenId>(i);
  }
  return tokens;
}

// Serves sequences one at a time; keeps `cached` blocks between them.
class Cache {
 public:
  Cache(uint32_t cached, EvictionOrder order)
      : pool_(PoolId(0), cached + kHeadroom),
        index_(pool_, kBlockTokens, {.order = order}) {}
  ~Cache() {
    index_.CheckInvariants();
    pool_.CheckInvariants();
  }

  // The blocks hit.
  uint32_t Serve(const Tokens& tokens, uint64_t seed = 0, bool spare = false) {
    PrefixKeys keys(seed, kBlockTokens, spare);
    keys.Extend(tokens);
    const PrefixMatch match = index_.Match(keys, tokens);
    BlockTable table = pool_.Share(match.blocks);
    const auto hits = static_cast<uint32_t>(match.blocks.size());
    EXPECT_TRUE(pool_.Reserve(table, keys.size() - hits));
    table.UseUpTo(keys.size());
    index_.Publish(keys, tokens, table);
    table.Clear();
    EXPECT_TRUE(index_.MakeRoom(kHeadroom));
    return hits;
  }
  uint32_t Cached(const Tokens& tokens) const {
    return static_cast<uint32_t>(index_.Match(0, tokens).blocks.size());
  }

 private:
  BlockPool pool_;
  PrefixIndex index_;
};

uint64_t Hits(EvictionOrder order, uint32_t cached, int requests,
              const std::function<TokenId(int)>& sequence_of) {
  Cache cache(cached, order);
  uint64_t hits = 0;
  for (int i = 0; i < requests; ++i)
    hits += cache.Serve(Sequence(sequence_of(i)));
  return hits;
}

// Sequences that nobody misses take the room that is there, and come back from
// it; but however many come, they push out nobody but each other.
TEST(PrefixEvictionTest, SpareSequencesLeaveFirst) {
  Cache cache(10 * kChain, EvictionOrder::kExpectedReuse);
  for (TokenId id = 0; id < 5; ++id) cache.Serve(Sequence(id));
  for (TokenId id = 100; id < 105; ++id) cache.Serve(Sequence(id), 1, true);
  for (TokenId id = 100; id < 105; ++id) {
    EXPECT_EQ(cache.Serve(Sequence(id), 1, true), kChain) << id;
  }
  for (TokenId id = 200; id < 300; ++id) cache.Serve(Sequence(id), 1, true);
  for (TokenId id = 0; id < 5; ++id) {
    EXPECT_EQ(cache.Cached(Sequence(id)), kChain) << id;
  }
  // Others push them out, and nobody else.
  for (TokenId id = 5; id < 10; ++id) cache.Serve(Sequence(id));
  for (TokenId id = 0; id < 10; ++id) {
    EXPECT_EQ(cache.Cached(Sequence(id)), kChain) << id;
  }
  for (TokenId id = 295; id < 300; ++id) {
    EXPECT_EQ(cache.Serve(Sequence(id), 1, true), 0u) << id;
  }
}

TEST(PrefixEvictionTest, AScanDoesNotPushOutWhatIsInUse) {
  // 20 sequences in use, and twice as many blocks that come once.
  Rng rng(1);
  std::vector<TokenId> order;
  for (int i = 0; i < 6000; ++i) {
    order.push_back(i % 3 == 0 ? static_cast<TokenId>(rng.Below(20)) : 100 + i);
  }
  const auto of = [&](int i) { return order[i]; };
  const uint64_t best = 2000 * kChain;
  const uint64_t ours = Hits(EvictionOrder::kExpectedReuse, 200, 6000, of);
  const uint64_t lru = Hits(EvictionOrder::kLru, 200, 6000, of);
  EXPECT_GT(ours, best * 9 / 10);
  EXPECT_LT(lru, best * 5 / 10);
}

TEST(PrefixEvictionTest, ALoopKeepsAPartOfItself) {
  const auto of = [](int i) { return i % 50; };  // 400 blocks round 200
  EXPECT_EQ(Hits(EvictionOrder::kLru, 200, 5000, of), 0u);
  EXPECT_GT(Hits(EvictionOrder::kExpectedReuse, 200, 5000, of),
            5000u * kChain * 4 / 10);
}

TEST(PrefixEvictionTest, WhereLruIsRightItIsNoWorse) {
  // The sequences in use change one by one; what was dropped never returns.
  Rng rng(1);
  std::vector<TokenId> order;
  for (int i = 0; i < 6000; ++i) {
    order.push_back(i / 20 + static_cast<TokenId>(rng.Below(20)));
  }
  const auto of = [&](int i) { return order[i]; };
  EXPECT_GE(Hits(EvictionOrder::kExpectedReuse, 200, 6000, of) * 100,
            Hits(EvictionOrder::kLru, 200, 6000, of) * 97);
}

TEST(PrefixEvictionTest, AnAbandonedBranchGoesFirst) {
  Cache cache(40, EvictionOrder::kExpectedReuse);
  // Conversations that drop the second half of their last turn each time.
  TokenId next = 1'000'000;
  for (int turn = 0; turn < 300; ++turn) {
    for (TokenId id = 0; id < 4; ++id) {
      Tokens tokens = Sequence(id);
      for (uint32_t i = 4 * kBlockTokens; i < tokens.size(); ++i) {
        tokens[i] = next++;
      }
      const uint32_t hits = cache.Serve(tokens);
      // 40 blocks: four stems of 4, and the branches as far as there is room.
      if (turn > 100) {
        EXPECT_EQ(hits, 4u);
      }
    }
  }
}

TEST(PrefixEvictionTest, TheSameRequestsTheSameVictims) {
  Rng rng(3);
  std::vector<TokenId> order;
  for (int i = 0; i < 2000; ++i) {
    order.push_back(static_cast<TokenId>(rng.Below(60)));
  }
  const auto of = [&](int i) { return order[i]; };
  EXPECT_EQ(Hits(EvictionOrder::kExpectedReuse, 200, 2000, of),
            Hits(EvictionOrder::kExpectedReuse, 200, 2000, of));
}

TEST(PrefixEvictionTest, SaltsNeverMeet) {
  Cache cache(200, EvictionOrder::kExpectedReuse);
  for (uint64_t salt = 0; salt < 10; ++salt) {
    EXPECT_EQ(cache.Serve(Sequence(1), salt), 0u);
    EXPECT_EQ(cache.Serve(Sequence(1), salt), kChain);
  }
}

}  // namespace
}  // namespace braid
