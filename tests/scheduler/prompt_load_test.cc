#include "scheduler/prompt_load.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

TimePoint At(double seconds) { return TimePoint() + FromSeconds(seconds); }

// Prompts for half of one device's time, of two.
TEST(PromptLoadTest, BusyIsOfAllDevicesTime) {
  PromptLoad load(2);
  for (int i = 1; i <= 600; ++i) load.NotePrompts(0.5, At(i));
  EXPECT_NEAR(load.busy(At(600)), 0.25, 0.01);
}

TEST(PromptLoadTest, BusyFadesWhileNobodyComes) {
  PromptLoad load(1);
  for (int i = 1; i <= 300; ++i) load.NotePrompts(1, At(i));
  const double busy = load.busy(At(300));
  EXPECT_NEAR(load.busy(At(330)), busy * 0.368, 0.001);
  EXPECT_LT(load.busy(At(600)), 0.0001);
}

TEST(PromptLoadTest, ShareIsOfStepsAndIdleTimeForgetsNothing) {
  PromptLoad load(1);
  for (int i = 1; i <= 300; ++i) {
    load.NotePrompts(1, At(i));
    load.NoteStep(1, /*without=*/0.8);
  }
  EXPECT_NEAR(load.share(), 0.2, 0.001);
  EXPECT_NEAR(load.busy(At(300)), 1, 0.02);
  load.NoteStep(/*seconds=*/1000, /*without=*/1000);
  EXPECT_EQ(load.share(), 0);
}

}  // namespace
}  // namespace braid
