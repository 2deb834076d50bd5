#include "scheduler/placement.h"

#include "gtest/gtest.h"

namespace braid {
namespace {

TEST(PlacementTest, AnIdlePrefillDeviceIsAsFast) {
  EXPECT_EQ(ChoosePlacement({.uncached_tokens = 10}, StepCost()),
            PlacementReason::kSplitFaster);
}

TEST(PlacementTest, AShortTailBypassesABusyPrefillDevice) {
  EXPECT_EQ(ChoosePlacement({.uncached_tokens = 10,
                             .prefill_backlog_tokens = 1000,
                             .decode_rows = 4},
                            StepCost()),
            PlacementReason::kBypassFaster);
}

TEST(PlacementTest, ALongOneWouldStallTheOthers) {
  EXPECT_EQ(ChoosePlacement({.uncached_tokens = 500,
                             .prefill_backlog_tokens = 1000,
                             .decode_rows = 4},
                            StepCost()),
            PlacementReason::kSplitHarmless);
}

// What is faster is a matter of what was measured, not of the first guess.
TEST(PlacementTest, FollowsMeasurements) {
  const PlacementInput input{
      .uncached_tokens = 100, .prefill_backlog_tokens = 1000, .decode_rows = 4};
  StepCost cost;
  EXPECT_EQ(ChoosePlacement(input, cost), PlacementReason::kSplitHarmless);
  for (int i = 0; i < 100; ++i) cost.Observe(256, 0, 256 * 0.0001);
  EXPECT_NEAR(cost.token_seconds(), 0.0001, 1e-6);
  EXPECT_EQ(ChoosePlacement(input, cost), PlacementReason::kBypassFaster);
  for (int i = 0; i < 100; ++i) cost.Observe(0, 4, 0.2);
  EXPECT_NEAR(cost.step_seconds(), 0.2, 1e-4);
  EXPECT_EQ(ChoosePlacement(input, cost), PlacementReason::kSplitFaster);
}

// Steps with few prompt tokens say little about what a token costs.
TEST(PlacementTest, MixedStepsDoNotMislead) {
  StepCost cost;
  const double token = cost.token_seconds(), step = cost.step_seconds();
  cost.Observe(8, 64, 1.0);
  EXPECT_EQ(cost.token_seconds(), token);
  EXPECT_EQ(cost.step_seconds(), step);
}

}  // namespace
}  // namespace braid
