#include "scheduler/placement_policy.h"

#include <vector>

#include "gtest/gtest.h"

namespace braid {
namespace {

// A prefill and a decode device on one node, with a pool each.
class PlacementPolicyTest : public testing::Test {
 protected:
  PlacementPolicyTest() {
    devices_ = {{.id = DeviceId(0),
                 .pool = PoolId(0),
                 .role = DeviceRole::kPrefill,
                 .free_blocks = 1000,
                 .time = &time_},
                {.id = DeviceId(1),
                 .pool = PoolId(1),
                 .role = DeviceRole::kDecode,
                 .free_blocks = 1000,
                 .time = &time_}};
    query_ = {.prompt_tokens = 1000,
              .expected_output = 100,
              .blocks = 70,
              .ttft_target = 2,
              .tpot_target = 0.1,
              .max_chunk = 256,
              .transfer = [this](PoolId, PoolId, uint32_t tokens) {
                return link_ < 0 ? kNoLink : link_ * tokens;
              }};
  }
  std::optional<Placement> Choose() {
    query_.devices = devices_;
    return ChoosePlacement(query_);
  }
  void Decoding(DeviceView& device, uint32_t rows) {
    device.decode_rows = rows;
    device.decode_attended = rows * 500;
    device.tightest_tpot = 0.1;
    device.decoding = true;
  }

  StepTimeModel time_;
  std::vector<DeviceView> devices_;
  PlacementQuery query_;
  double link_ = 1e-6;  // seconds per token
};

TEST_F(PlacementPolicyTest, ABusyDecodeDeviceIsSparedALongPrompt) {
  Decoding(devices_[1], 20);
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));
}

TEST_F(PlacementPolicyTest, AShortTailBypassesABusyPrefillDevice) {
  Decoding(devices_[1], 4);
  devices_[1].cached_tokens = 980;
  devices_[0].prefill_wait = 0.7;
  devices_[0].prefilling = true;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(1));
  EXPECT_EQ(placement->decode, DeviceId(1));
  EXPECT_EQ(placement->reason, PlacementReason::kBypassFaster);
}

TEST_F(PlacementPolicyTest, RolesAreWallsWhenTheModeSaysSo) {
  query_.split = SplitMode::kOn;
  devices_[0].prefill_wait = 100;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));
  EXPECT_EQ(placement->decode, DeviceId(1));
  EXPECT_EQ(placement->reason, PlacementReason::kSplitForced);
  devices_[0].up = false;
  EXPECT_FALSE(Choose());
}

TEST_F(PlacementPolicyTest, NothingIsPlacedWhereNothingIsUp) {
  devices_[0].up = devices_[1].up = false;
  EXPECT_FALSE(Choose());
  devices_[1].up = true;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->reason, PlacementReason::kOneDevice);
}

}  // namespace
}  // namespace braid
