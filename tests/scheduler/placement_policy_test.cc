#include "scheduler/placement_policy.h"

#include <optional>
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
                 .time = &time_},
                {.id = DeviceId(1),
                 .pool = PoolId(1),
                 .role = DeviceRole::kDecode,
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

// A prompt that would be done sooner among the rows of the decode device waits
// for its own turn, as long as nobody's target is at stake.
TEST_F(PlacementPolicyTest, DecodeDevicesAreBorrowedForTargetsOnly) {
  Decoding(devices_[1], 4);
  devices_[0].prefill_wait = 1.6;
  devices_[0].prefilling = true;
  for (const double target : {60.0, 1.2}) {
    query_.ttft_target = target;
    const auto placement = Choose();
    ASSERT_TRUE(placement);
    EXPECT_EQ(placement->prefill, DeviceId(target > 2 ? 0 : 1)) << target;
  }
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

// performance.md 1.3: where splitting does not pay, it is not done.

// The KV would travel for longer than the decode device needs to compute it:
// Dynamo on a TCP fallback, 0.1 GB/s.
TEST_F(PlacementPolicyTest, ASlowLinkIsNotUsed) {
  link_ = 131072 / 0.1e9;  // an 8B model's
  Decoding(devices_[1], 8);
  auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, placement->decode);
  EXPECT_EQ(placement->reason, PlacementReason::kBypassFaster);
  link_ = kNoLink;
  placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, placement->decode);
  EXPECT_EQ(placement->reason, PlacementReason::kOneDevice);
}

// Dynamo on EFA: no gain at 1,000 tokens, and 37 ms lost on the way: the prompt
// costs less.
TEST_F(PlacementPolicyTest, ShortPromptsStayWhereTheyAreDecoded) {
  const StepTimeModel gpu({.base = 0.006,
                           .chunk_token = 2.7e-5,
                           .chunk_attended = 9e-10,
                           .decode_row = 2e-5,
                           .decode_attended = 5e-8});
  for (DeviceView& device : devices_) device.time = &gpu;
  link_ = 131072 / 9.6e9 + 0.037 / 1000;
  query_.prompt_tokens = 1000;
  query_.expected_output = 50;
  query_.max_chunk = 2048;
  for (const uint32_t rows : {0, 1}) {
    if (rows > 0) Decoding(devices_[1], rows);
    const auto placement = Choose();
    ASSERT_TRUE(placement);
    EXPECT_EQ(placement->prefill, placement->decode) << rows;
  }
}

// llm-d on code traffic, Mooncake with SGLang on A10: much prompt, little
// answer; one prefill device is saturated while the decode devices idle.
TEST_F(PlacementPolicyTest, ASaturatedPrefillDeviceIsGoneAround) {
  query_.prompt_tokens = 8000;
  query_.expected_output = 30;
  query_.max_chunk = 2048;
  devices_[0].prefill_wait = 8;
  devices_[0].queued_tokens = 16000;
  devices_[0].prefilling = true;
  Decoding(devices_[1], 2);
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(1));
  EXPECT_EQ(placement->decode, DeviceId(1));
  EXPECT_EQ(placement->reason, PlacementReason::kBypassFaster);
}

// And where it pays: many rows whose target a chunk beside them would break.
TEST_F(PlacementPolicyTest, LongPromptsAreKeptFromManyRows) {
  query_.prompt_tokens = 8000;
  query_.tpot_target = 0.05;
  Decoding(devices_[1], 40);
  devices_[1].tightest_tpot = 0.05;
  // The wait is shorter than what one device would lose by small chunks.
  devices_[0].prefill_wait = 0.5;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));
  EXPECT_EQ(placement->decode, DeviceId(1));
  EXPECT_EQ(placement->reason, PlacementReason::kSplitFaster);
}

TEST_F(PlacementPolicyTest, ABypassThatHurtsOthersIsNotDone) {
  query_.prompt_tokens = 400;
  Decoding(devices_[1], 10);
  // Not even the smallest chunk keeps the rows' target.
  devices_[1].tightest_tpot = query_.tpot_target = 0.014;
  devices_[0].prefill_wait = 0.5;
  // One memory, but no row for another on the prefill device.
  devices_[0].pool = devices_[1].pool;
  devices_[0].credit_wait = 5;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));
  EXPECT_EQ(placement->decode, DeviceId(1));
  EXPECT_EQ(placement->reason, PlacementReason::kSplitHarmless);
}

TEST_F(PlacementPolicyTest, AFullDecodeDeviceLeavesDecodeWhereThePromptIs) {
  devices_[1].credit_wait = 30;
  Decoding(devices_[1], 60);
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));
  EXPECT_EQ(placement->decode, DeviceId(0));
  EXPECT_EQ(placement->reason, PlacementReason::kDecodeStays);
}

TEST_F(PlacementPolicyTest, APrefixIsWorthALongerQueue) {
  DeviceView other = devices_[0];
  other.id = DeviceId(2);
  other.pool = PoolId(2);
  devices_.push_back(other);
  Decoding(devices_[1], 20);
  query_.prompt_tokens = 4000;
  devices_[0].cached_tokens = 3000;
  devices_[0].prefill_wait = 0.5;
  auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));
  EXPECT_EQ(placement->reason, PlacementReason::kCacheNear);
  devices_[0].prefill_wait = 20;
  placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(2));
}

TEST_F(PlacementPolicyTest, OneTokenNeedsNoDecode) {
  query_.expected_output = 1;
  for (const SplitMode split : {SplitMode::kAuto, SplitMode::kOn}) {
    query_.split = split;
    const auto placement = Choose();
    ASSERT_TRUE(placement);
    EXPECT_EQ(placement->prefill, DeviceId(0));
    EXPECT_EQ(placement->decode, DeviceId(0));
    EXPECT_EQ(placement->reason, PlacementReason::kNoDecode);
    EXPECT_EQ(placement->tpot, 0);
  }
}

TEST_F(PlacementPolicyTest, OneDeviceEachWhenTheModeSaysSo) {
  query_.split = SplitMode::kOff;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(0));  // of equals the first
  EXPECT_EQ(placement->decode, DeviceId(0));
  EXPECT_EQ(placement->reason, PlacementReason::kOneDevice);
  devices_[0].decode_rows = 1;
  EXPECT_EQ(Choose()->decode, DeviceId(1));
}

TEST_F(PlacementPolicyTest, PairsAreOfOneNodeAndBlocksMustFit) {
  devices_[1].node = 1;
  auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, placement->decode);
  EXPECT_EQ(placement->reason, PlacementReason::kOneDevice);
  query_.split = SplitMode::kOn;
  EXPECT_FALSE(Choose());
  devices_[1].node = 0;
  EXPECT_TRUE(Choose());
  devices_[1].all_blocks = query_.blocks - 1;
  EXPECT_FALSE(Choose());
}

// A device that runs the other phase now is turned around for a gain only.
TEST_F(PlacementPolicyTest, EqualDevicesKeepWhatTheyDo) {
  link_ = 0;
  for (DeviceView& device : devices_) device.role = DeviceRole::kBoth;
  devices_[0].decoding = true;
  devices_[1].prefilling = true;
  const auto placement = Choose();
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->prefill, DeviceId(1));
  EXPECT_EQ(placement->decode, DeviceId(0));
  devices_[1].prefill_wait = 0.02;
  EXPECT_EQ(Choose()->prefill, DeviceId(0));
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
