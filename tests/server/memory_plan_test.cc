#include "server/memory_plan.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// A block of 16 tokens is 64 KiB, a token 4 KiB.
constexpr KvLayout kLayout = {.layers = 4,
                              .kv_heads = 4,
                              .head_dim = 64,
                              .block_tokens = 16,
                              .dtype = KvDType::kF16};

absl::StatusOr<MemoryPlan> Plan(const ServeOptions& options,
                                uint64_t available = 1000 * kMiB,
                                uint64_t weights = 100 * kMiB,
                                uint32_t model_context = 8192) {
  return PlanMemory(options, kLayout, model_context, weights, available);
}

TEST(MemoryPlanTest, TheLayoutIsAsSaid) {
  EXPECT_EQ(kLayout.block_bytes(), 64u << 10);
}

TEST(MemoryPlanTest, AQuarterOfWhatIsThereByDefault) {
  const auto plan = Plan({}, 1024 * kMiB);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->pools, 1u);
  EXPECT_EQ(plan->blocks_per_pool, 256u * 16);
  EXPECT_EQ(plan->max_context, 8192u);
  const auto large = Plan({}, 1024 * 1024 * kMiB);
  ASSERT_TRUE(large.ok());
  EXPECT_EQ(large->blocks_per_pool, 8192u * 16);  // 8 GiB at most
}

TEST(MemoryPlanTest, DevicesWithTheirOwnPoolsShareTheMemory) {
  ServeOptions options;
  options.kv_memory = 64 * kMiB;
  options.devices.resize(2);
  EXPECT_EQ(Plan(options)->blocks_per_pool, 64u * 16);
  options.kv_transport = KvTransportKind::kCopy;
  EXPECT_EQ(Plan(options)->pools, 2u);
  EXPECT_EQ(Plan(options)->blocks_per_pool, 32u * 16);
}

TEST(MemoryPlanTest, LittleMemoryMakesTheContextShort) {
  ServeOptions options;
  options.kv_memory = 4 * kMiB;
  EXPECT_EQ(Plan(options)->max_context, 1024u);
  options.max_context = 100;
  EXPECT_EQ(Plan(options)->max_context, 100u);
}

TEST(MemoryPlanTest, RefusesWithTheRemedy) {
  ServeOptions options;
  options.kv_memory = 4 * kMiB;
  options.max_context = 2000;
  EXPECT_EQ(Plan(options).status().message(),
            "too little memory: 4.0 MiB of KV cache hold 1024 tokens, and one "
            "request may have 2000; set --kv-memory to at least 7.8 MiB or "
            "lower --max-context");
  options.kv_memory = 125 * 64 << 10;  // what it says
  EXPECT_TRUE(Plan(options).ok());
  options.max_context = 8193;
  EXPECT_EQ(Plan(options).status().code(), absl::StatusCode::kInvalidArgument);
  options = {};
  options.kv_memory = 901 * kMiB;
  EXPECT_EQ(Plan(options).status().code(),
            absl::StatusCode::kResourceExhausted);
  options.kv_memory = ~uint64_t{0};
  EXPECT_FALSE(Plan(options).ok());
  options.kv_memory = 1;
  EXPECT_FALSE(Plan(options).ok());
  EXPECT_FALSE(Plan({}, 10 * kMiB).ok());  // The weights alone do not fit.
  EXPECT_FALSE(Plan({}, 0, 0).ok());
}

}  // namespace
}  // namespace braid::server
