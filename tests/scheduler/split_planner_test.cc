#include "scheduler/split_planner.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

constexpr uint32_t kDevices = 8;

// 10 ms of weights, 50 us per prompt token, and rows of 0.3 ms.
StepTimeModel Time(double overlap) {
  return StepTimeModel({.base = 0.010,
                        .chunk_token = 50e-6,
                        .chunk_attended = 0,
                        .decode_row = 300e-6,
                        .decode_attended = 0,
                        .overlap = overlap});
}

PlannedDevice Device(const StepTimeModel& time) {
  return {.time = &time,
          .max_chunk = 8192,
          .max_rows = 1024,
          .kv_tokens = 1'000'000};
}

SplitPlanner Seen(uint32_t prompt, uint32_t output, int requests = 100) {
  SplitPlanner planner;
  for (int i = 0; i < requests; ++i) {
    planner.Observe(prompt, prompt, output, 0.025);
  }
  return planner;
}

TEST(SplitPlannerTest, CapacityByHand) {
  const StepTimeModel time = Time(0);
  const SplitPlanner planner = Seen(8192, 101);
  // 8192 tokens are a step of 0.4196 s.
  EXPECT_NEAR(planner.Capacity(Device(time), kDevices, 4), 4 / 0.4196, 0.01);
  // One device decodes 50 rows in 25 ms, three quarters of them on average.
  EXPECT_NEAR(planner.Capacity(Device(time), kDevices, 1),
              0.75 * 50 / (0.025 * 100), 0.01);
  // Together: with r requests per second a device has 2.5 r rows, and
  // (25 - 10 - 0.3 x 2.5 r) ms of 25 are left for prompts of 0.4096 s:
  // r = 0.6 - 0.03 r over 0.4096.
  EXPECT_NEAR(planner.Capacity(Device(time), kDevices, 0),
              kDevices * 0.6 / (0.4096 + 0.03), 0.2);
}

// Where devices lend, one with the cores of all has fewer weights to read.
TEST(SplitPlannerTest, GatheredOnEveryCore) {
  const StepTimeModel time = Time(0);
  const SplitPlanner planner = Seen(8192, 101);
  PlannedDevice device = Device(time);
  const double spread = planner.Capacity(device, 2, 0);
  // 5 ms of weights, 25 us a token, 0.15 ms a row: with r requests per second
  // (25 - 5 - 0.15 x 2.5 r) ms of 25 are left for prompts of 0.2048 s.
  const StepTimeModel both({.base = 0.005,
                            .chunk_token = 25e-6,
                            .chunk_attended = 0,
                            .decode_row = 150e-6,
                            .decode_attended = 0});
  device.gathered = &both;
  EXPECT_NEAR(planner.Capacity(device, 2, 0), 0.8 / (0.2048 + 0.015), 0.05);
  EXPECT_GT(planner.Capacity(device, 2, 0), spread);
  // Where it is no better, the two stay apart.
  device.gathered = &time;
  EXPECT_EQ(planner.Capacity(device, 2, 0), spread);
}

// The memory that rows need bounds a batch as well as their time does.
TEST(SplitPlannerTest, MemoryBoundsTheBatch) {
  const StepTimeModel time = Time(0);
  const SplitPlanner planner = Seen(1000, 101);
  PlannedDevice small = Device(time);
  small.kv_tokens = 11'000;  // ten rows: 13 ms
  EXPECT_NEAR(planner.Capacity(small, kDevices, 1), 0.75 * 10 / (0.013 * 100),
              0.01);
}

TEST(SplitPlannerTest, SplitsWhereMixingIsDear) {
  const TimePoint now(std::chrono::seconds(100));
  // What prompts do beside rows costs the weights once more, or nothing.
  const StepTimeModel dear = Time(0), free = Time(1);
  SplitPlanner one = Seen(8192, 101), other = Seen(8192, 101);
  EXPECT_EQ(one.Plan(Device(dear), kDevices, now), 1u);
  EXPECT_EQ(other.Plan(Device(free), kDevices, now), 0u);
}

TEST(SplitPlannerTest, KeepsItsPlanUntilAnotherIsWorthIt) {
  const StepTimeModel time = Time(0);
  const PlannedDevice device = Device(time);
  TimePoint now(std::chrono::seconds(100));
  SplitPlanner planner;
  // Nothing is planned on a few requests.
  for (int i = 0; i < 31; ++i) planner.Observe(8192, 8192, 101, 0.025);
  EXPECT_EQ(planner.Plan(device, kDevices, now), 0u);
  planner.Observe(8192, 8192, 101, 0.025);
  EXPECT_EQ(planner.Plan(device, kDevices, now), 1u);
  // Answers that are twice as long want another decode device; not at once.
  for (int i = 0; i < 2000; ++i) planner.Observe(8192, 8192, 201, 0.025);
  now += std::chrono::milliseconds(900);
  EXPECT_EQ(planner.Plan(device, kDevices, now), 1u);
  now += std::chrono::milliseconds(200);
  EXPECT_EQ(planner.Plan(device, kDevices, now), 2u);
  // A device is lost: at once.
  EXPECT_LT(planner.Plan(device, 2, now), 2u);
  EXPECT_EQ(planner.Plan(device, 1, now), 0u);
}

// Together they carry 10.9 requests per second.
TEST(SplitPlannerTest, StaysTogetherWhileThatIsAmple) {
  const StepTimeModel time = Time(0);
  const PlannedDevice device = Device(time);
  TimePoint now(std::chrono::seconds(100));
  SplitPlanner planner = Seen(8192, 101);
  const auto plan_after = [&](double rate) {
    for (int i = 0; i < 2000; ++i) {
      now += Duration(static_cast<int64_t>(1e9 / rate));
      planner.Arrive(now);
    }
    return planner.Plan(device, kDevices, now);
  };
  EXPECT_EQ(plan_after(6.5), 0u);
  EXPECT_EQ(plan_after(8), 1u);
  EXPECT_EQ(plan_after(6.5), 1u);  // not to and fro
  EXPECT_EQ(plan_after(5), 0u);
}

// Short answers end first. Those that are not complete count as well, or the
// mean would be theirs.
TEST(SplitPlannerTest, AnswersUnderWayCount) {
  const StepTimeModel time = Time(0);
  SplitPlanner planner = Seen(8192, 1001);
  // Half of them end after 20 tokens, and as many are at their 180th.
  for (int i = 0; i < 100; ++i) {
    planner.Draw(200);
    planner.FinishAnswer();
  }
  const double rows = 50 / 0.025;  // tokens per second of a decode device
  EXPECT_NEAR(planner.Capacity(Device(time), kDevices, 1), 0.75 * rows / 200,
              0.75);
}

}  // namespace
}  // namespace braid
