#include "simulator/replay/policies.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

class PoliciesTest : public ::testing::Test {
 protected:
  PoliciesTest() : time_({0.010, 1e-4, 0, 1e-3, 0}) {
    for (uint32_t i = 0; i < 4; ++i) {
      devices_.push_back(
          {.id = DeviceId(i),
           .pool = PoolId(i),
           .role = i < 2 ? DeviceRole::kPrefill : DeviceRole::kDecode,
           .time = &time_});
    }
  }

  std::optional<Placement> Choose(const PlacementPolicy& policy) {
    return policy({.prompt_tokens = 1600,
                   .expected_output = 10,
                   .blocks = 101,
                   .ttft_target = 2,
                   .tpot_target = 0.025,
                   .split = split_,
                   .max_chunk = 512,
                   .devices = devices_,
                   .transfer = [](PoolId, PoolId, uint32_t) { return 0.01; }});
  }
  std::pair<uint32_t, uint32_t> Pair(const PlacementPolicy& policy) {
    const auto placement = Choose(policy);
    EXPECT_TRUE(placement.has_value());
    return {placement->prefill.value(), placement->decode.value()};
  }
  static PlacementPolicy Make(const std::string& text) {
    return MakePolicy(*ParsePolicy(text), 16);
  }

  StepTimeModel time_;
  std::vector<DeviceView> devices_;
  SplitMode split_ = SplitMode::kOn;
};

using Ids = std::pair<uint32_t, uint32_t>;

TEST_F(PoliciesTest, RoundRobinTakesTurns) {
  const PlacementPolicy policy = Make("round-robin");
  EXPECT_EQ(Pair(policy), Ids(0, 2));
  EXPECT_EQ(Pair(policy), Ids(1, 3));
  EXPECT_EQ(Pair(policy), Ids(0, 2));
  split_ = SplitMode::kOff;
  const PlacementPolicy aggregated = Make("aggregated:router=round-robin");
  for (uint32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(Pair(aggregated), Ids(i % 4, i % 4));
  }
}

TEST_F(PoliciesTest, LeastLoad) {
  devices_[0].queued_tokens = 10;
  devices_[2].decode_rows = 3;
  devices_[3].decode_rows = 4;
  EXPECT_EQ(Pair(Make("least-load")), Ids(1, 2));
  // A device that is down, or too small, is nobody's choice.
  devices_[1].up = false;
  devices_[2].all_blocks = 100;
  EXPECT_EQ(Pair(Make("least-load")), Ids(0, 3));
  devices_[3].up = false;
  EXPECT_FALSE(Choose(Make("least-load")).has_value());
}

TEST_F(PoliciesTest, DynamoWeighsThePrefixAgainstTheQueue) {
  // In blocks of 16: 0 has 50 queued and the whole prompt uncached, 1 has 80
  // queued and half of it cached.
  devices_[0].queued_tokens = 50 * 16;
  devices_[1].queued_tokens = 80 * 16;
  devices_[1].cached_tokens = 800;
  EXPECT_EQ(Pair(Make("dynamo")).first, 1u);  // 80 + 50 < 50 + 100
  devices_[1].queued_tokens = 101 * 16;
  EXPECT_EQ(Pair(Make("dynamo")).first, 0u);
  // Decode blocks count too, unless the overlap outweighs them.
  devices_[1].queued_tokens = 80 * 16;
  devices_[1].decode_attended = 30 * 16;
  EXPECT_EQ(Pair(Make("dynamo")).first, 0u);
  EXPECT_EQ(Pair(Make("dynamo:overlap=2")).first, 1u);
  // The decode leg knows decode blocks alone.
  devices_[2].decode_attended = 100;
  devices_[2].cached_tokens = 1600;
  EXPECT_EQ(Pair(Make("dynamo")).second, 3u);
}

TEST_F(PoliciesTest, MooncakeAddsQueueAndPrefillTime) {
  // 0: 4 steps of 10 ms and 1,600 tokens: 0.2 s. 1: 0.05 s queue, 0.12 s.
  devices_[1].prefill_wait = 0.05;
  devices_[1].cached_tokens = 800;
  const auto placement = Choose(Make("mooncake"));
  ASSERT_TRUE(placement.has_value());
  EXPECT_EQ(placement->prefill, DeviceId(1));
  EXPECT_NEAR(placement->ttft, 0.05 + 2 * 0.010 + 0.08, 1e-9);
  devices_[1].prefill_wait = 0.11;
  EXPECT_EQ(Pair(Make("mooncake")).first, 0u);
  // Early rejection: a decode step that would take longer than the target.
  devices_[2].decode_rows = devices_[3].decode_rows = 20;
  EXPECT_GT(Choose(Make("mooncake"))->ttft, 1e6);
  EXPECT_EQ(Choose(Make("mooncake:refuse=0"))->ttft, 0);
}

TEST_F(PoliciesTest, StickyStaysUntilSaturated) {
  devices_[1].cached_tokens = 16;
  devices_[1].queued_tokens = 5000;
  EXPECT_EQ(Pair(Make("sticky")).first, 1u);
  EXPECT_EQ(Pair(Make("sticky:saturation=4000")).first, 0u);
}

TEST_F(PoliciesTest, ATokenAloneNeedsNoDecodeWorker) {
  const auto placement = Make("least-load")({.prompt_tokens = 10,
                                             .expected_output = 1,
                                             .split = SplitMode::kOn,
                                             .devices = devices_});
  ASSERT_TRUE(placement.has_value());
  EXPECT_EQ(placement->prefill, placement->decode);
  EXPECT_EQ(placement->reason, PlacementReason::kNoDecode);
}

}  // namespace
}  // namespace braid
