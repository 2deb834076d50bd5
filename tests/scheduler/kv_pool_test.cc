#include "scheduler/kv_pool.h"

#include <vector>

#include <gtest/gtest.h>

namespace braid {
namespace {

constexpr uint32_t kBlockTokens = 2;

using Tokens = std::vector<TokenId>;

class KvPoolTest : public ::testing::Test {
 protected:
  // An elastic table of so many blocks.
  BlockTable Elastic(uint32_t blocks) {
    BlockTable table(pool_.blocks());
    EXPECT_EQ(pool_.Grow(table, blocks), blocks);
    return table;
  }
  void GiveBack(BlockTable& table) {
    pool_.Release(table.blocks());
    table = BlockTable();
  }
  PrefixKeys KeysOf(const Tokens& tokens) const {
    PrefixKeys keys(/*seed=*/7, kBlockTokens, /*spare=*/true);
    keys.Extend(tokens);
    return keys;
  }

  KvPool pool_{PoolId(0), 16, kBlockTokens};
};

TEST_F(KvPoolTest, ElasticBlocksCountAsAvailable) {
  BlockTable elastic = Elastic(3);
  BlockTable fixed(pool_.blocks());
  pool_.Take(fixed, 4);
  EXPECT_EQ(pool_.elastic(), 3u);
  EXPECT_EQ(pool_.index().available(), 9u);
  EXPECT_EQ(pool_.available(), 12u);
  GiveBack(elastic);
  EXPECT_EQ(pool_.elastic(), 0u);
  EXPECT_EQ(pool_.available(), 12u);
}

TEST_F(KvPoolTest, GrowTakesWhatIsMissing) {
  BlockTable table = Elastic(2);
  EXPECT_EQ(pool_.Grow(table, 2), 0u);
  EXPECT_EQ(pool_.Grow(table, 5), 3u);
  EXPECT_EQ(pool_.Grow(table, 1), 0u);
  EXPECT_EQ(table.used(), 5u);
  EXPECT_EQ(pool_.elastic(), 5u);
  GiveBack(table);
}

TEST_F(KvPoolTest, ASharedBlockIsFreeWhenItsLastHolderGoes) {
  BlockTable one = Elastic(3);
  BlockTable two = pool_.blocks().Share(one.blocks().first(2));
  pool_.Hold(two.blocks());
  EXPECT_EQ(pool_.elastic(), 3u);
  EXPECT_EQ(pool_.CountFreedBy(one.blocks()), 1u);
  EXPECT_EQ(pool_.CountFreedBy(two.blocks()), 0u);
  GiveBack(one);
  EXPECT_EQ(pool_.elastic(), 2u);
  EXPECT_EQ(pool_.CountFreedBy(two.blocks()), 2u);
  pool_.CheckElastic([&] {
    std::vector<uint32_t> holders(16);
    for (BlockId block : two.blocks()) holders[block.value()] = 1;
    return holders;
  }());
  GiveBack(two);
}

TEST_F(KvPoolTest, PublishingMovesTheHoldToTheKnownBlock) {
  const Tokens tokens = {1, 2, 3, 4};
  const PrefixKeys keys = KeysOf(tokens);
  BlockTable one = Elastic(2), two = Elastic(2);
  pool_.PublishElastic(keys, tokens, one);
  EXPECT_EQ(pool_.elastic(), 4u);
  pool_.PublishElastic(keys, tokens, two);
  EXPECT_EQ(two.blocks()[0], one.blocks()[0]);
  EXPECT_EQ(two.blocks()[1], one.blocks()[1]);
  EXPECT_EQ(pool_.elastic(), 2u);
  GiveBack(one);
  EXPECT_EQ(pool_.elastic(), 2u);
  GiveBack(two);
}

// Half of the pool at most; a quarter, where prefixes are evicted for it; and
// nothing of what others wait for.
TEST_F(KvPoolTest, RoomForElasticIsBounded) {
  EXPECT_EQ(pool_.RoomForElastic(0), 8u);
  EXPECT_EQ(pool_.RoomForElastic(13), 3u);
  BlockTable elastic = Elastic(6);
  EXPECT_EQ(pool_.RoomForElastic(0), 2u);
  GiveBack(elastic);

  Tokens tokens;
  for (TokenId i = 0; i < 32; ++i) tokens.push_back(i);
  PrefixKeys keys = KeysOf(tokens);
  BlockTable prompt(pool_.blocks());
  pool_.Take(prompt, 16);
  prompt.UseUpTo(16);
  pool_.index().Publish(keys, tokens, prompt);
  prompt = BlockTable();  // All blocks are cached.
  EXPECT_EQ(pool_.RoomForElastic(0), 4u);
}

TEST_F(KvPoolTest, ReleasingWhatNobodyHoldsIsADefect) {
  BlockTable fixed(pool_.blocks());
  pool_.Take(fixed, 1);
  EXPECT_DEATH(pool_.Release(fixed.blocks()), "");
}

}  // namespace
}  // namespace braid
