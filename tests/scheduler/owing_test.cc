#include "scheduler/owing.h"

#include <gtest/gtest.h>

#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"

namespace braid {
namespace {

SchedulerConfig Config(uint32_t devices) {
  SchedulerConfig config{.max_context = 64};
  for (uint32_t i = 0; i < devices; ++i) {
    config.devices.push_back(
        {.id = DeviceId(i), .pool = PoolId(i), .max_rows = 8});
    config.pool_blocks.push_back(16);
  }
  return config;
}

class OwingTest : public ::testing::Test {
 protected:
  DeviceState& device() { return state_.devices[0]; }
  const DecodeRow& row(size_t i) { return device().decoding[i]; }

  // It decodes, and owes so much.
  Request& Decode(uint64_t id, bool may_stand_aside, double owed) {
    Request& request = state_.requests.Add(
        {.id = RequestId(id), .prompt = {1, 2}, .max_output = 8});
    device().decoding.push_back({.request = request.id,
                                 .slot = request.slot,
                                 .due = state_.now + std::chrono::hours(1),
                                 .may_stand_aside = may_stand_aside});
    device().Owe(device().decoding.back(), owed);
    return request;
  }
  // A step of those in flight is over after so many seconds.
  void EndStep(const StepPlan& plan, bool prompts, double seconds,
               bool shed = false) {
    device().step_begin = state_.now;
    state_.now += FromSeconds(seconds);
    NoteOwed(state_, device(), plan, prompts, shed);
  }

  SchedulerState state_{Config(1)};
};

TEST(RowsStandAsideTest, WherePromptsHaveEveryCore) {
  EXPECT_TRUE(RowsStandAside(Config(1)));
  SchedulerConfig config = Config(2);
  config.lend_cores = true;
  config.split = SplitMode::kAuto;
  EXPECT_TRUE(RowsStandAside(config));
  config.split = SplitMode::kOn;
  EXPECT_FALSE(RowsStandAside(config));
  config.split = SplitMode::kAuto;
  config.lend_cores = false;
  EXPECT_FALSE(RowsStandAside(config));
}

TEST_F(OwingTest, RowsOweWhatStreamsAddAndPayWhatPromptsTake) {
  Decode(1, /*may_stand_aside=*/true, 0).in_flight = true;
  Decode(2, /*may_stand_aside=*/false, 0).in_flight = true;
  Decode(3, /*may_stand_aside=*/true, 1);
  Decode(4, /*may_stand_aside=*/false, 1);
  EndStep({.added = 0.25}, /*prompts=*/true, 0.4);
  EXPECT_DOUBLE_EQ(row(0).owed, 0.25);
  EXPECT_DOUBLE_EQ(row(1).owed, 0.25);
  EXPECT_NEAR(row(2).owed, 0.6, 1e-9);  // It stood aside.
  EXPECT_DOUBLE_EQ(row(3).owed, 1);     // It had no part in that.
  EXPECT_EQ(device().owing, 4u);
  EXPECT_EQ(device().aside, 2u);
}

TEST_F(OwingTest, WhoGaveWayHasPaidWhatItLost) {
  Decode(1, /*may_stand_aside=*/true, 1).in_flight = true;
  EndStep({.added = 0.25, .gives_way = true}, /*prompts=*/false, 0.4,
          /*shed=*/true);
  EXPECT_NEAR(row(0).owed, 0.6, 1e-9);
}

// Who pays in advance does not stand aside again before it owes anew.
TEST_F(OwingTest, OnesOwnDebtIsTheMostThatStandsAside) {
  Decode(1, /*may_stand_aside=*/true, 0.1);
  EXPECT_EQ(device().aside, 1u);
  EndStep({}, /*prompts=*/true, 0.4);
  EXPECT_NEAR(row(0).owed, -0.3, 1e-9);
  EXPECT_EQ(device().aside, 0u);
  EXPECT_EQ(device().owing, 0u);
}

TEST_F(OwingTest, AStepGivesWayOnlyAsAWhole) {
  device().config.sheds_in_flight = true;
  const Forecast forecast(state_);
  const auto gives_way = [&] {
    return GivesWay(state_.config, forecast, device(), state_.now);
  };
  Decode(1, /*may_stand_aside=*/true, 1);
  EXPECT_TRUE(gives_way());
  device().decoding[0].due = state_.now;
  EXPECT_FALSE(gives_way());
  device().decoding[0].due = state_.now + std::chrono::hours(1);
  Decode(2, /*may_stand_aside=*/false, 1);
  EXPECT_FALSE(gives_way());
}

}  // namespace
}  // namespace braid
