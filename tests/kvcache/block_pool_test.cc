#include "kvcache/block_pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "kvcache/block_lease.h"
#include "kvcache/block_table.h"
#include "tests/kvcache/random_operations.h"

namespace braid {
namespace {

using ::testing::ElementsAre;
using enum BlockState;

BlockTable UsedTable(BlockPool& pool, uint32_t n) {
  BlockTable table(pool);
  EXPECT_TRUE(pool.Reserve(table, n));
  table.UseUpTo(n);
  return table;
}

TEST(BlockPoolTest, ReserveIsAllOrNothing) {
  BlockPool pool(PoolId(0), 4);
  BlockTable table(pool);
  EXPECT_FALSE(pool.Reserve(table, 5));
  EXPECT_TRUE(table.blocks().empty());
  EXPECT_TRUE(pool.Reserve(table, 4));
  EXPECT_EQ(pool.count(kReserved), 4u);
  EXPECT_FALSE(pool.Reserve(table, 1));
  EXPECT_TRUE(pool.Reserve(table, 0));
  table.Clear();
  EXPECT_EQ(pool.count(kFree), 4u);
}

TEST(BlockPoolTest, HandsOutLowIdsFirst) {
  BlockPool pool(PoolId(0), 8);
  BlockTable table(pool);
  ASSERT_TRUE(pool.Reserve(table, 3));
  EXPECT_THAT(table.blocks(), ElementsAre(BlockId(0), BlockId(1), BlockId(2)));
}

TEST(BlockPoolTest, TableWalksThroughItsStates) {
  BlockPool pool(PoolId(0), 4);
  BlockTable table(pool);
  ASSERT_TRUE(pool.Reserve(table, 3));
  table.UseUpTo(2);
  table.UseUpTo(1);  // Changes nothing.
  EXPECT_EQ(table.used(), 2u);
  EXPECT_EQ(table.reserved(), 1u);
  EXPECT_EQ(pool.count(kUsed), 2u);
  EXPECT_EQ(pool.count(kReserved), 1u);
  table.Truncate(1);
  EXPECT_EQ(table.used(), 1u);
  EXPECT_EQ(pool.count(kFree), 3u);
}

TEST(BlockPoolTest, MovedTablesHoldOnce) {
  BlockPool pool(PoolId(0), 4);
  BlockTable a = UsedTable(pool, 2);
  BlockTable b = std::move(a);
  EXPECT_TRUE(a.blocks().empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(pool.count(kUsed), 2u);
  BlockTable c = UsedTable(pool, 2);
  b = std::move(c);
  EXPECT_EQ(pool.count(kUsed), 2u);
  EXPECT_EQ(pool.count(kFree), 2u);
}

TEST(BlockPoolTest, SharedBlocksStayUntilTheLastHolderIsGone) {
  BlockPool pool(PoolId(0), 4);
  BlockTable a = UsedTable(pool, 2);
  BlockTable b = pool.Share(a.blocks());
  EXPECT_EQ(b.used(), 2u);
  a.Clear();
  EXPECT_EQ(pool.count(kUsed), 2u);
  b.Clear();
  EXPECT_EQ(pool.count(kFree), 4u);
}

TEST(BlockPoolTest, CancelledSenderKeepsWhatACopyReads) {
  BlockPool pool(PoolId(0), 4);
  BlockTable table = UsedTable(pool, 2);
  SendLease lease = pool.BeginSend(table.blocks());
  EXPECT_EQ(pool.count(kSending), 2u);
  table.Clear();
  EXPECT_EQ(pool.count(kSending), 2u);
  BlockTable greedy(pool);
  EXPECT_FALSE(pool.Reserve(greedy, 3));
  lease.Reset();
  EXPECT_EQ(pool.count(kFree), 4u);
}

TEST(BlockPoolTest, CancelledReceiverKeepsWhatACopyWrites) {
  BlockPool pool(PoolId(0), 4);
  BlockTable table(pool);
  ASSERT_TRUE(pool.Reserve(table, 3));
  ReceiveLease lease = pool.BeginReceive(table.blocks().first(2));
  table.Clear();
  EXPECT_EQ(pool.count(kReserved), 2u);
  EXPECT_EQ(pool.count(kFree), 2u);
  pool.CheckInvariants();
  lease.Reset();
  EXPECT_EQ(pool.count(kFree), 4u);
}

TEST(BlockPoolTest, ReceivedBlocksAreUsedAfterTheLease) {
  BlockPool pool(PoolId(0), 4);
  BlockTable table(pool);
  ASSERT_TRUE(pool.Reserve(table, 2));
  ReceiveLease lease = pool.BeginReceive(table.blocks());
  lease.Reset();
  table.UseUpTo(2);
  EXPECT_EQ(pool.count(kUsed), 2u);
}

TEST(BlockPoolTest, TwoLeasesOnOneBlockBothCount) {
  BlockPool pool(PoolId(0), 2);
  BlockTable table = UsedTable(pool, 2);
  SendLease a = pool.BeginSend(table.blocks().first(1));
  SendLease b = pool.BeginSend(table.blocks());
  a.Reset();
  EXPECT_EQ(pool.count(kSending), 2u);
  b.Reset();
  EXPECT_EQ(pool.count(kUsed), 2u);
}

TEST(BlockPoolTest, MergedLeasesEndTogether) {
  BlockPool pool(PoolId(0), 4);
  BlockTable table = UsedTable(pool, 3);
  SendLease lease;
  lease.Merge(pool.BeginSend(table.blocks().first(1)));
  lease.Merge(pool.BeginSend(table.blocks().subspan(1)));
  EXPECT_EQ(lease.blocks().size(), 3u);
  EXPECT_EQ(pool.count(kSending), 3u);
  lease.Reset();
  EXPECT_EQ(pool.count(kUsed), 3u);
}

TEST(BlockPoolTest, ReplacedCopyIsGivenBackUnlessItIsBeingSent) {
  BlockPool pool(PoolId(0), 4);
  BlockTable a = UsedTable(pool, 1), b = UsedTable(pool, 1),
             c = UsedTable(pool, 1);
  b.ReplaceShared(0, a.blocks()[0]);
  EXPECT_EQ(pool.count(kUsed), 2u);
  const BlockId own = c.blocks()[0];
  SendLease lease = pool.BeginSend(c.blocks());
  c.ReplaceShared(0, a.blocks()[0]);
  EXPECT_EQ(pool.state(own), kSending);
  lease.Reset();
  EXPECT_EQ(pool.state(own), kFree);
}

using BlockPoolDeathTest = ::testing::Test;

TEST(BlockPoolDeathTest, MisuseIsCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  BlockPool pool(PoolId(0), 4);
  BlockTable table(pool);
  ASSERT_TRUE(pool.Reserve(table, 2));
  EXPECT_DEATH(pool.Share(table.blocks()), "only blocks with KV");
  EXPECT_DEATH(pool.BeginSend(table.blocks()), "CHECK");
  EXPECT_DEATH(pool.state(BlockId(4)), "CHECK");
  const ReceiveLease lease = pool.BeginReceive(table.blocks());
  EXPECT_DEATH(table.UseUpTo(1), "while a transfer writes");
  EXPECT_DEATH(pool.BeginReceive(table.blocks()), "CHECK");
  EXPECT_DEATH(
      {
        BlockTable orphan;
        BlockPool short_lived(PoolId(1), 1);
        orphan = BlockTable(short_lived);
        (void)short_lived.Reserve(orphan, 1);
      },
      "outlives its pool");
}

// Random operations beside a model that knows no counts and no states: it
// derives them from who holds what.
class RandomPoolTest {
 public:
  explicit RandomPoolTest(uint64_t seed) : rng_(seed) {}

  void Run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      Step();
      Compare();
    }
    tables_.clear();
    Compare();
    sends_.clear();
    receives_.clear();
    EXPECT_EQ(pool_.count(kFree), kCapacity);
  }

 private:
  static constexpr uint32_t kCapacity = 12;

  struct Table {
    BlockTable real;
    std::vector<BlockId> blocks;
    uint32_t used = 0;
  };
  template <typename Lease>
  struct Leased {
    Lease real;
    std::vector<BlockId> blocks;
  };

  template <typename T>
  T& Any(std::vector<T>& from) {
    return from[rng_.Below(from.size())];
  }
  template <typename T>
  void DropAny(std::vector<T>& from) {
    if (!from.empty()) from.erase(from.begin() + rng_.Below(from.size()));
  }
  bool Receiving(BlockId id) const {
    return std::ranges::any_of(receives_, [id](const auto& lease) {
      return std::ranges::count(lease.blocks, id) > 0;
    });
  }

  void Step() {
    const uint64_t what = rng_.Below(9);
    if (tables_.empty() || (what == 0 && tables_.size() < 6)) {
      tables_.push_back({.real = BlockTable(pool_)});
      return;
    }
    Table& table = Any(tables_);
    if (what == 1 || what == 2) {
      const auto n = static_cast<uint32_t>(rng_.Below(5));
      const uint32_t free = pool_.count(kFree);
      EXPECT_EQ(pool_.Reserve(table.real, n), n <= free);
      const auto blocks = table.real.blocks();
      table.blocks.assign(blocks.begin(), blocks.end());
    } else if (what == 3) {
      uint32_t end = table.used;
      while (end < table.blocks.size() && !Receiving(table.blocks[end])) ++end;
      table.used += rng_.Below(end - table.used + 1);
      table.real.UseUpTo(table.used);
    } else if (what == 4) {
      const auto n = static_cast<uint32_t>(rng_.Below(8));
      table.real.Truncate(n);
      if (n < table.blocks.size()) table.blocks.resize(n);
      table.used = std::min(table.used, n);
    } else if (what == 5 && tables_.size() < 6) {
      const auto n = static_cast<uint32_t>(rng_.Below(table.used + 1));
      Table shared{pool_.Share(table.real.blocks().first(n)),
                   {table.blocks.begin(), table.blocks.begin() + n},
                   n};
      tables_.push_back(std::move(shared));
    } else if (what == 6) {
      DropAny(tables_);
    } else if (what == 7) {
      StepLeases(table);
    } else if (what == 8) {
      rng_.Below(2) ? DropAny(sends_) : DropAny(receives_);
    }
  }

  void StepLeases(const Table& table) {
    if (sends_.size() < 4 && rng_.Below(2) == 0) {
      const auto n = rng_.Below(table.used + 1);
      const std::vector<BlockId> blocks(table.blocks.begin(),
                                        table.blocks.begin() + n);
      sends_.push_back({pool_.BeginSend(blocks), blocks});
      return;
    }
    std::vector<BlockId> blocks;
    for (size_t i = table.used; i < table.blocks.size(); ++i) {
      if (!Receiving(table.blocks[i])) blocks.push_back(table.blocks[i]);
    }
    receives_.push_back({pool_.BeginReceive(blocks), blocks});
  }

  void Compare() {
    pool_.CheckInvariants();
    std::vector<BlockState> expected(kCapacity, kFree);
    for (const Table& table : tables_) {
      for (size_t i = 0; i < table.blocks.size(); ++i) {
        expected[table.blocks[i].value()] = i < table.used ? kUsed : kReserved;
      }
    }
    for (const auto& lease : receives_) {
      for (BlockId id : lease.blocks) expected[id.value()] = kReserved;
    }
    for (const auto& lease : sends_) {
      for (BlockId id : lease.blocks) expected[id.value()] = kSending;
    }
    for (uint32_t i = 0; i < kCapacity; ++i) {
      EXPECT_EQ(pool_.state(BlockId(i)), expected[i]) << "block " << i;
    }
  }

  Rng rng_;
  BlockPool pool_{PoolId(0), kCapacity};
  std::vector<Table> tables_;
  std::vector<Leased<SendLease>> sends_;
  std::vector<Leased<ReceiveLease>> receives_;
};

TEST(BlockPoolTest, RandomOperationsAgreeWithWhoHoldsWhat) {
  const int operations = RandomOperations(10'000);
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomPoolTest(seed).Run(operations / 10);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace braid
