#include "engine/stage_times.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace braid {
namespace {

using std::chrono::milliseconds;

TEST(StageTimesTest, TimeBackInTheQueueIsQueueTime) {
  TimePoint now{};
  StageClock clock(now);
  const auto after = [&now](int ms) { return now += milliseconds(ms); };
  clock.Enter(Stage::kPrefill, after(2));
  clock.Enter(Stage::kDecode, after(3));
  clock.TokenDrawn(now);
  clock.Enter(Stage::kQueue, after(4));
  clock.Enter(Stage::kPrefill, after(5));
  clock.TokenDrawn(after(6));
  clock.Enter(Stage::kDecode, now);
  const StageTimes times = clock.Finish(after(7));
  EXPECT_EQ(times[Stage::kQueue], milliseconds(7));
  EXPECT_EQ(times[Stage::kPrefill], milliseconds(9));
  EXPECT_EQ(times[Stage::kDecode], milliseconds(11));
  EXPECT_EQ(times[Stage::kTransfer], milliseconds(0));
  EXPECT_EQ(times.first_token - times.received, milliseconds(5));
}

// Whatever the order of stages, and when a request is received after the turn
// that takes it has begun.
TEST(StageTimesTest, StagesSumToTheWallTimeExactly) {
  Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    TimePoint now(Duration(static_cast<int64_t>(rng.Below(1000000))));
    StageClock clock(now + Duration(static_cast<int64_t>(rng.Below(2000))));
    for (uint64_t n = rng.Below(20); n > 0; --n) {
      now += Duration(static_cast<int64_t>(rng.Below(1000)));
      clock.Enter(static_cast<Stage>(rng.Below(kStageCount)), now);
      if (rng.Below(3) == 0) clock.TokenDrawn(now);
    }
    const StageTimes times = clock.Finish(now);
    Duration sum{};
    for (Duration stage : times.spent) {
      EXPECT_GE(stage.count(), 0);
      sum += stage;
    }
    EXPECT_EQ(sum, times.finished - times.received);
    EXPECT_LE(times.received, times.first_token);
    EXPECT_LE(times.first_token, times.finished);
  }
}

}  // namespace
}  // namespace braid
