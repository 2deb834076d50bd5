#include "scheduler/placement_lending.h"

#include <vector>

#include "gtest/gtest.h"
#include "scheduler/placement_cost.h"

namespace braid {
namespace {

StepTimeModel Steps(double share) {
  return StepTimeModel({.base = 0.004 * share,
                        .chunk_token = 0.0005 * share,
                        .chunk_attended = 0,
                        .decode_row = 0.001 * share,
                        .decode_attended = 0});
}

// Devices of one node and one pool, whose steps take as many times less as they
// have cores.
class PlacementLendingTest : public testing::Test {
 protected:
  void Make(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      models_.push_back(Steps(1.0 / static_cast<double>(i + 1)));
    }
    for (const StepTimeModel& model : models_) times_.push_back(&model);
    for (size_t i = 0; i < count; ++i) {
      devices_.push_back(
          {.id = DeviceId(static_cast<uint32_t>(i)),
           .role = i == 0 ? DeviceRole::kPrefill : DeviceRole::kDecode,
           .time = times_[0],
           .by_lenders = times_});
    }
    query_ = {.prompt_tokens = 600,
              .expected_output = 101,
              .ttft_target = 2,
              .tpot_target = 0.1,
              .max_chunk = 256,
              .devices = devices_};
  }
  void Decoding(size_t i, uint32_t rows) {
    devices_[i].decode_rows = rows;
    devices_[i].decode_attended = rows * 500;
    devices_[i].tightest_tpot = 0.1;
  }
  void Prompts(size_t i, uint32_t prompts, double wait) {
    devices_[i].prompts = prompts;
    devices_[i].prefill_wait = wait;
  }
  Placement Choose() { return ChoosePlacement(query_).value(); }

  std::vector<StepTimeModel> models_;
  std::vector<const StepTimeModel*> times_;
  std::vector<DeviceView> devices_;
  PlacementQuery query_;
};

TEST_F(PlacementLendingTest, WhoWorksSharesTheCoresOfThoseWhoDoNot) {
  Make(4);
  EXPECT_EQ(&StepsOf(query_, devices_[1]), times_[3]);
  EXPECT_EQ(DevicesTaken(query_, devices_[1]), 4);
  Decoding(0, 1);
  EXPECT_EQ(&StepsOf(query_, devices_[0]), times_[3]);
  // Two would share two.
  EXPECT_EQ(&StepsOf(query_, devices_[1]), times_[1]);
  Prompts(2, 1, 0.1);
  EXPECT_EQ(&StepsOf(query_, devices_[1]), times_[0]);
  devices_[2].up = false;
  EXPECT_EQ(&StepsOf(query_, devices_[1]), times_[0]);
  EXPECT_EQ(&StepsOf(query_, devices_[0]), times_[2]);
  // Those of another node lend nothing here.
  devices_[3].node = 1;
  EXPECT_EQ(&StepsOf(query_, devices_[0]), times_[1]);
}

TEST_F(PlacementLendingTest, WhoLendsNothingHasItsOwn) {
  Make(2);
  for (DeviceView& device : devices_) device.by_lenders = {};
  Decoding(1, 4);
  EXPECT_EQ(&StepsOf(query_, devices_[1]), devices_[1].time);
  EXPECT_EQ(DevicesTaken(query_, devices_[1]), 1);
  EXPECT_EQ(CallBackSeconds(query_, devices_[0], 1), 0);
  EXPECT_FALSE(IsHome(query_, devices_[1]));
}

// Rows on twice the cores do twice as much: of a second without them half is
// lost, by each, and until the step ends that has begun by then.
TEST_F(PlacementLendingTest, CallingCoresBackByHand) {
  Make(2);
  EXPECT_EQ(CallBackSeconds(query_, devices_[0], 1), 0);
  Decoding(1, 6);
  EXPECT_NEAR(CallBackSeconds(query_, devices_[0], 1),
              6 * 0.5 * (1 + 0.010 / 2), 1e-9);
  EXPECT_EQ(CallBackSeconds(query_, devices_[0], 0), 0);
  // Its prompts lose as well, while they are there.
  Prompts(1, 3, 0.8);
  EXPECT_NEAR(CallBackSeconds(query_, devices_[0], 1),
              6 * 0.5 * (1 + 0.010 / 2) + 3 * 0.5 * 0.4, 1e-9);
}

// Requests come one after the other; whatever their number they meet where the
// first is, with every core.
TEST_F(PlacementLendingTest, RowsGather) {
  Make(2);
  query_.prompt_tokens = 40;
  for (const size_t home : {0, 1}) {
    for (const uint32_t rows : {1, 4, 16}) {
      Decoding(home, rows);
      const Placement placement = Choose();
      EXPECT_EQ(placement.prefill, devices_[home].id) << rows;
      EXPECT_EQ(placement.decode, devices_[home].id) << rows;
    }
    Decoding(home, 0);
  }
}

// A prompt takes both devices' cores while rows wait; once they have waited for
// long, it takes those of the other device alone, as long as that is in time.
TEST_F(PlacementLendingTest, RowsThatAreBehindAreLeftAlone) {
  Make(2);
  Decoding(1, 6);
  query_.expected_output = 1;
  EXPECT_EQ(Choose().prefill, devices_[1].id);
  devices_[1].rows_behind = 2.5;
  EXPECT_EQ(Choose().prefill, devices_[0].id);
  Prompts(0, 1, 0.5);
  EXPECT_EQ(Choose().prefill, devices_[0].id);
  Prompts(0, 3, 1.2);
  EXPECT_EQ(Choose().prefill, devices_[0].id);
  // There it would be done within the target, and yet be refused for it.
  Prompts(0, 5, 1.55);
  EXPECT_EQ(Choose().prefill, devices_[1].id);
  Prompts(0, 0, 0);
  devices_[0].up = false;
  EXPECT_EQ(Choose().prefill, devices_[1].id);
}

// Rows that are on two devices find together again: a newcomer goes where there
// are more, though its first steps would be shorter with the fewer.
TEST_F(PlacementLendingTest, RowsFindTogether) {
  Make(2);
  query_.prompt_tokens = 40;
  Decoding(0, 10);
  Decoding(1, 8);
  EXPECT_TRUE(IsHome(query_, devices_[0]));
  EXPECT_FALSE(IsHome(query_, devices_[1]));
  EXPECT_EQ(&RowStepsOf(query_, devices_[0]), times_[1]);
  EXPECT_EQ(&RowStepsOf(query_, devices_[1]), times_[0]);
  EXPECT_EQ(Choose().decode, DeviceId(0));
}

// A prompt that is soon done is worth the wait for all cores; ten are not.
TEST_F(PlacementLendingTest, ALongQueueCallsCoresBack) {
  Make(2);
  Decoding(1, 1);
  Prompts(1, 1, 0.1);
  EXPECT_EQ(Choose().prefill, DeviceId(1));
  Prompts(1, 1, 0.1);
  EXPECT_EQ(Choose().prefill, DeviceId(1));
  Prompts(1, 10, 2);
  EXPECT_EQ(Choose().prefill, DeviceId(0));
}

// What a device borrows is not its own: such steps count with all the devices
// that they take.
TEST_F(PlacementLendingTest, BorrowedCoresAreWork) {
  Make(2);
  const PlacementWeights weights;
  const PrefillCost cost = PrefillCostOf(query_, weights, devices_[0]);
  // 600 tokens and three steps on both.
  EXPECT_NEAR(cost.compute, (600 * 0.0005 + 3 * 0.004) / 2, 1e-9);
  EXPECT_NEAR(cost.others, weights.work * 2 * cost.compute, 1e-9);
}

}  // namespace
}  // namespace braid
