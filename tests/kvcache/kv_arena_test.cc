#include "kvcache/kv_arena.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace braid {
namespace {

using ::testing::HasSubstr;

constexpr KvLayout kDefaultModel{.layers = 30, .kv_heads = 3, .head_dim = 64};

TEST(KvLayoutTest, SizesOfTheDefaultModel) {
  EXPECT_EQ(kDefaultModel.page_bytes(), 16u * 64 * 2);
  EXPECT_EQ(kDefaultModel.layer_bytes(), 2u * 3 * 2048);
  EXPECT_EQ(kDefaultModel.block_bytes(), 368'640u);
  EXPECT_EQ(kDefaultModel.BlocksFor(0), 0u);
  EXPECT_EQ(kDefaultModel.BlocksFor(16), 1u);
  EXPECT_EQ(kDefaultModel.BlocksFor(17), 2u);
  EXPECT_EQ(ToString(kDefaultModel),
            "30 layers x 3 kv heads x 64 in f16, 16 tokens per block");
}

TEST(KvLayoutTest, PagesTileTheBlock) {
  const KvLayout layout{.layers = 3, .kv_heads = 2, .head_dim = 8};
  size_t expected = 0;
  for (uint32_t layer = 0; layer < layout.layers; ++layer) {
    for (uint32_t head = 0; head < layout.kv_heads; ++head) {
      EXPECT_EQ(layout.KeyPage(layer, head), expected);
      expected += layout.page_bytes();
    }
    for (uint32_t head = 0; head < layout.kv_heads; ++head) {
      EXPECT_EQ(layout.ValuePage(layer, head), expected);
      expected += layout.page_bytes();
    }
  }
  EXPECT_EQ(expected, layout.block_bytes());
}

TEST(KvArenaTest, BlocksAreDistinctWritableMemory) {
  auto arena = KvArena::Create(kDefaultModel, 5);
  ASSERT_TRUE(arena.ok()) << arena.status();
  for (uint32_t i = 0; i < 5; ++i) {
    std::memset((*arena)->block(BlockId(i)), static_cast<int>(i + 1),
                kDefaultModel.block_bytes());
  }
  for (uint32_t i = 0; i < 5; ++i) {
    const auto group = (*arena)->layers(BlockId(i), 24, 30);
    EXPECT_EQ(group.size(), 6 * kDefaultModel.layer_bytes());
    EXPECT_EQ(group.front(), std::byte(i + 1));
    EXPECT_EQ(group.back(), std::byte(i + 1));
    EXPECT_EQ(group.data() + group.size(),
              (*arena)->block(BlockId(i)) + kDefaultModel.block_bytes());
  }
}

// Of the arena's pages, how many are in memory.
size_t PagesPresent(const KvArena& arena) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t bytes = arena.capacity() * arena.layout().block_bytes();
  std::vector<unsigned char> present((bytes + page - 1) / page);
  EXPECT_EQ(mincore(arena.block(BlockId(0)), bytes, present.data()), 0);
  return std::ranges::count_if(present, [](unsigned char c) { return c & 1; });
}

TEST(KvArenaTest, PopulatesWhatItIsToldAndNoMore) {
  const SystemClock clock;
  const auto arena = *KvArena::Create(kDefaultModel, 120);  // 42 MiB
  EXPECT_EQ(PagesPresent(*arena), 0u);
  arena->Populate(size_t{4} << 20, clock, clock.Now());
  EXPECT_EQ(PagesPresent(*arena), 0u);  // no time for it
  arena->block(BlockId(0))[0] = std::byte(7);
  arena->Populate(size_t{20} << 20, clock, kNever);
  const size_t some = PagesPresent(*arena);
  EXPECT_EQ(some, (size_t{20} << 20) / sysconf(_SC_PAGESIZE));
  EXPECT_EQ(arena->block(BlockId(0))[0], std::byte(7));
  arena->Populate(size_t{1} << 40, clock, kNever);
  EXPECT_EQ(arena->block(BlockId(0))[0], std::byte(7));
  EXPECT_GT(PagesPresent(*arena), 2 * some);
}

TEST(KvArenaTest, RefusalNamesTheFlag) {
  KvLayout huge = kDefaultModel;
  huge.block_tokens = 1u << 30;
  const auto arena = KvArena::Create(huge, 4'000'000'000u);
  EXPECT_EQ(arena.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(arena.status().message(), HasSubstr("--kv-memory"));
}

}  // namespace
}  // namespace braid
