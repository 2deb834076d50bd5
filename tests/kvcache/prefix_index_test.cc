#include "kvcache/prefix_index.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvcache/block_lease.h"
#include "kvcache/block_table.h"

namespace braid {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using enum BlockState;

constexpr uint64_t kSeed = 7;

using Tokens = std::vector<TokenId>;

class PrefixIndexTest : public ::testing::Test {
 protected:
  ~PrefixIndexTest() override {
    index_.CheckInvariants();
    pool_.CheckInvariants();
  }

  // A table with computed KV of `tokens`, published.
  BlockTable Compute(const Tokens& tokens, uint64_t seed = kSeed) {
    BlockTable table = Unpublished(tokens);
    index_.Publish(seed, tokens, table);
    return table;
  }
  BlockTable Unpublished(const Tokens& tokens) {
    const auto n = static_cast<uint32_t>((tokens.size() + 1) / 2);
    BlockTable table(pool_);
    EXPECT_TRUE(index_.MakeRoom(n) && pool_.Reserve(table, n));
    table.UseUpTo(n);
    return table;
  }
  std::vector<BlockId> Find(const Tokens& tokens, uint64_t seed = kSeed) {
    return index_.Match(seed, tokens).blocks;
  }

  BlockPool pool_{PoolId(0), 8};
  PrefixIndex index_{pool_, 2, {.order = EvictionOrder::kLru}};
};

TEST_F(PrefixIndexTest, FindsTheLongestPrefixOfFullBlocks) {
  const BlockTable table = Compute({1, 2, 3, 4, 5});
  EXPECT_THAT(Find({1, 2, 3, 4, 5, 6}),
              ElementsAreArray(table.blocks().first(2)));
  EXPECT_THAT(Find({1, 2, 3, 9}), ElementsAreArray(table.blocks().first(1)));
  EXPECT_THAT(Find({1, 2, 3}), ElementsAreArray(table.blocks().first(1)));
  EXPECT_THAT(Find({3, 4}), IsEmpty());
  EXPECT_THAT(Find({1}), IsEmpty());
  EXPECT_THAT(Find({}), IsEmpty());
}

TEST_F(PrefixIndexTest, SeedsDoNotShare) {
  const BlockTable table = Compute({1, 2});
  EXPECT_THAT(Find({1, 2}, kSeed + 1), IsEmpty());
}

// Chains of which each piece of `run` blocks lies together in the pool.
void CheckMatchesOfChains(uint32_t run, uint32_t block_tokens, int tag_bits) {
  SCOPED_TRACE(::testing::Message() << "runs of " << run << " blocks of "
                                    << block_tokens << " tokens");
  constexpr uint32_t kChains = 3, kBlocks = 600;
  BlockPool pool(PoolId(1), kChains * kBlocks);
  PrefixIndex index(pool, block_tokens, {}, tag_bits);
  std::vector<BlockTable> tables(kChains);
  for (BlockTable& table : tables) table = BlockTable(pool);
  for (uint32_t n = 0; n < kBlocks; n += run) {
    for (BlockTable& table : tables) {
      ASSERT_TRUE(pool.Reserve(table, std::min(run, kBlocks - n)));
    }
  }
  for (uint32_t i = 0; i < kChains; ++i) {
    Tokens tokens(kBlocks * block_tokens, static_cast<TokenId>(i));
    tables[i].UseUpTo(kBlocks);
    index.Publish(kSeed, tokens, tables[i]);
    for (const uint32_t other : {0u, 1u, 3u, 7u, 8u, 50u, 64u, 70u, 599u}) {
      // The first token of a block, or the last one.
      for (const uint32_t token : {0u, block_tokens - 1}) {
        TokenId& changed = tokens[other * block_tokens + token];
        changed ^= 64;
        EXPECT_THAT(index.Match(kSeed, tokens).blocks,
                    ElementsAreArray(tables[i].blocks().first(other)));
        changed ^= 64;
      }
      const auto shorter = std::span(tokens).first(other * block_tokens);
      EXPECT_THAT(index.Match(kSeed, shorter).blocks,
                  ElementsAreArray(tables[i].blocks().first(other)));
    }
    EXPECT_THAT(index.Match(kSeed, tokens).blocks,
                ElementsAreArray(tables[i].blocks()));
  }
  index.CheckInvariants();
}

TEST_F(PrefixIndexTest, FindsChainsHoweverTheyLieInThePool) {
  for (const uint32_t run : {1, 2, 3, 5, 17, 600}) {
    for (const uint32_t block_tokens : {2, 16, 24}) {
      CheckMatchesOfChains(run, block_tokens, 32);
      CheckMatchesOfChains(run, block_tokens, 6);
    }
  }
}

TEST_F(PrefixIndexTest, KeysOfOneTagAreToldApartByTheirTokens) {
  BlockPool pool(PoolId(1), 8);
  PrefixIndex index(pool, 2, {}, 1);
  std::vector<BlockTable> tables;
  for (TokenId i = 0; i < 4; ++i) {
    BlockTable& table = tables.emplace_back(pool);
    ASSERT_TRUE(pool.Reserve(table, 2));
    table.UseUpTo(2);
    index.Publish(kSeed, Tokens{i, i, i, i}, table);
  }
  for (TokenId i = 0; i < 4; ++i) {
    EXPECT_THAT(index.Match(kSeed, Tokens{i, i, i, i}).blocks,
                ElementsAreArray(tables[i].blocks()));
  }
  EXPECT_THAT(index.Match(kSeed, Tokens{9, 9}).blocks, IsEmpty());
  index.CheckInvariants();
}

TEST_F(PrefixIndexTest, KeysComputedOnceServeEveryIndex) {
  const Tokens tokens = {1, 2, 3, 4, 5};
  PrefixKeys keys(kSeed, 2);
  keys.Extend(tokens);
  BlockPool other_pool(PoolId(1), 8);
  PrefixIndex other(other_pool, 2);
  BlockTable table = Unpublished(tokens);
  index_.Publish(keys, tokens, table);
  EXPECT_THAT(index_.Match(keys, tokens).blocks,
              ElementsAreArray(table.blocks().first(2)));
  EXPECT_EQ(index_.CountMatch(keys, tokens), 2u);
  EXPECT_EQ(index_.CountMatch(keys, std::span(tokens).first(3)), 1u);
  EXPECT_EQ(other.CountMatch(keys, tokens), 0u);
  EXPECT_THAT(Find(tokens), ElementsAreArray(table.blocks().first(2)));
}

TEST_F(PrefixIndexTest, CountsInsertions) {
  const BlockTable table = Compute({1, 2, 3, 4});
  EXPECT_EQ(index_.stats().blocks_inserted, 2u);
}

TEST_F(PrefixIndexTest, ReleasedBlocksAreCachedAndComeBack) {
  std::vector<BlockId> ids;
  {
    const BlockTable table = Compute({1, 2, 3, 4, 5});
    ids.assign(table.blocks().begin(), table.blocks().begin() + 2);
  }
  EXPECT_EQ(pool_.count(kCached), 2u);
  EXPECT_EQ(pool_.count(kFree), 6u);
  const BlockTable again = pool_.Share(Find({1, 2, 3, 4}));
  EXPECT_THAT(again.blocks(), ElementsAreArray(ids));
  EXPECT_EQ(pool_.count(kUsed), 2u);
}

TEST_F(PrefixIndexTest, EqualContentIsKeptOnce) {
  const BlockTable a = Compute({1, 2, 3, 4});
  const BlockTable b = Compute({1, 2, 3, 4, 5, 6});
  EXPECT_THAT(b.blocks().first(2), ElementsAreArray(a.blocks()));
  EXPECT_EQ(pool_.count(kUsed), 3u);
}

TEST_F(PrefixIndexTest, DuplicateThatIsBeingSentStaysUntilTheLeaseEnds) {
  const Tokens tokens = {1, 2};
  const BlockTable a = Compute(tokens);
  BlockTable b = Unpublished(tokens);
  const BlockId own = b.blocks()[0];
  SendLease lease = pool_.BeginSend(b.blocks());
  index_.Publish(kSeed, tokens, b);
  EXPECT_EQ(b.blocks()[0], a.blocks()[0]);
  EXPECT_EQ(pool_.state(own), kSending);
  lease.Reset();
  EXPECT_EQ(pool_.state(own), kFree);
}

TEST_F(PrefixIndexTest, PublishingStepByStepEqualsPublishingAtOnce) {
  Tokens tokens;
  BlockTable table(pool_);
  for (TokenId token = 0; token < 8; ++token) {
    tokens.push_back(token);
    if (table.blocks().size() * 2 < tokens.size()) {
      ASSERT_TRUE(pool_.Reserve(table, 1));
    }
    table.UseUpTo(static_cast<uint32_t>(table.blocks().size()));
    index_.Publish(kSeed, tokens, table);
    index_.CheckInvariants();
  }
  EXPECT_THAT(Find(tokens), ElementsAreArray(table.blocks()));
}

TEST_F(PrefixIndexTest, EvictsLeavesFirstAndTheOldestChainFirst) {
  BlockTable a = Compute({1, 2, 3, 4, 5, 6});
  BlockTable b = Compute({7, 8, 9, 9});
  a.Clear();
  b.Clear();
  EXPECT_EQ(index_.available(), 8u);
  ASSERT_TRUE(index_.MakeRoom(4));  // 3 are free already.
  EXPECT_EQ(Find({1, 2, 3, 4, 5, 6}).size(), 2u);
  ASSERT_TRUE(index_.MakeRoom(6));
  EXPECT_EQ(Find({1, 2, 3, 4, 5, 6}).size(), 0u);
  EXPECT_EQ(Find({7, 8, 9, 9}).size(), 2u);
  EXPECT_EQ(index_.stats().blocks_evicted, 3u);
}

TEST_F(PrefixIndexTest, AHitMakesAChainYoung) {
  Compute({1, 2});
  Compute({3, 4});
  pool_.Share(Find({1, 2}));
  ASSERT_TRUE(index_.MakeRoom(7));
  EXPECT_EQ(Find({1, 2}).size(), 1u);
  EXPECT_EQ(Find({3, 4}).size(), 0u);
}

TEST_F(PrefixIndexTest, MakeRoomThatCannotSucceedEvictsNothing) {
  Compute({1, 2, 3, 4});  // cached
  const BlockTable held = Compute({5, 6, 7, 8});
  EXPECT_FALSE(index_.MakeRoom(7));
  EXPECT_EQ(pool_.count(kCached), 2u);
  EXPECT_TRUE(index_.MakeRoom(6));
}

TEST_F(PrefixIndexTest, RootOfALeasedLeafCanBeEvicted) {
  BlockTable table = Compute({1, 2, 3, 4, 5, 6});
  const BlockId leaf = table.blocks()[2];
  SendLease lease = pool_.BeginSend(table.blocks().subspan(2));
  table.Clear();
  EXPECT_EQ(index_.available(), 7u);
  ASSERT_TRUE(index_.MakeRoom(7));
  index_.CheckInvariants();
  EXPECT_EQ(pool_.state(leaf), kSending);
  EXPECT_THAT(Find({1, 2, 3, 4, 5, 6}), IsEmpty());
  lease.Reset();
  EXPECT_EQ(pool_.count(kFree), 8u);
}

TEST_F(PrefixIndexTest, AfterClearCopiesOfASharedPrefixMeetAgain) {
  const Tokens start = {1, 2, 3, 4}, longer = {1, 2, 3, 4, 5, 6};
  BlockTable a = Compute(start);
  BlockTable b = pool_.Share(a.blocks());
  ASSERT_TRUE(pool_.Reserve(b, 1));
  b.UseUpTo(3);
  index_.Clear();
  const BlockTable other = Compute({1, 2});  // Its own copy of the first block.
  index_.Publish(kSeed, start, a);           // Behind that, its own second one.
  index_.Publish(kSeed, longer, b);
  EXPECT_EQ(b.blocks()[0], other.blocks()[0]);
  EXPECT_EQ(b.blocks()[1], a.blocks()[1]);
  EXPECT_THAT(Find(longer), ElementsAreArray(b.blocks()));
}

TEST_F(PrefixIndexTest, ClearForgetsButTakesNothingAway) {
  Compute({1, 2});
  BlockTable held = Compute({3, 4});
  index_.Clear();
  EXPECT_EQ(pool_.count(kFree), 7u);
  EXPECT_EQ(pool_.count(kUsed), 1u);
  EXPECT_THAT(Find({3, 4}), IsEmpty());
  const Tokens tokens = {3, 4};
  index_.Publish(kSeed, tokens, held);
  EXPECT_THAT(Find({3, 4}), ElementsAre(held.blocks()[0]));
}

}  // namespace
}  // namespace braid
