#include "scheduler/forecast.h"

#include <gtest/gtest.h>

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

// Idle cores are shared out among those that work.
TEST(ForecastTest, ADeviceBorrowsItsShareOfTheUnused) {
  SchedulerState state(Config(5));
  const Forecast forecast(state);
  EXPECT_EQ(forecast.Lenders(state.devices[0]), 4u);
  state.devices[0].bound = state.devices[1].bound = 1;
  EXPECT_EQ(forecast.Lenders(state.devices[0]), 1u);
  state.devices[2].bound = 1;
  EXPECT_EQ(forecast.Lenders(state.devices[0]), 0u);
  state.devices[2].up = false;
  EXPECT_EQ(forecast.Lenders(state.devices[0]), 1u);
}

// While few steps were seen on so many cores, what others have told is better.
TEST(ForecastTest, BelievesTheModelThatHasSeenSteps) {
  SchedulerState state(Config(2));
  DeviceState& device = state.devices[0];
  StepShape row;
  row.AddDecodeRow(8);
  const auto learn = [&](uint64_t steps) {
    for (uint64_t i = 0; i < steps; ++i) device.Learn(1, row, 0.01);
  };
  const Forecast forecast(state);
  learn(DeviceState::kWarmSteps - 1);
  EXPECT_FALSE(forecast.IsWarm(device));
  EXPECT_EQ(&Forecast::TimeOf(device, 0), &device.time[1]);
  learn(1);
  EXPECT_EQ(&Forecast::TimeOf(device, 1), &device.time[1]);
  EXPECT_EQ(&Forecast::TimeOf(device, 0), &device.guess[0]);
  EXPECT_TRUE(forecast.IsWarm(device));
}

// A row that has no class's target to keep may come in any case.
TEST(ForecastTest, ARowFitsWithinTheTightestTarget) {
  SchedulerState state(Config(1));
  DeviceState& device = state.devices[0];
  for (uint32_t rows = 1; rows <= 32; ++rows) {
    StepShape step{.decode_rows = rows, .decode_attended = 8 * rows};
    device.Learn(0, step, 0.01 * rows);
  }
  const Forecast forecast(state);
  const Request request({.id = RequestId(1), .prompt = {1}, .max_output = 4},
                        /*slot=*/0);
  const double tpot = forecast.TpotWith(device, request);
  const auto fit = static_cast<uint32_t>(tpot / 0.01);
  ASSERT_GE(fit, 3u);
  const auto rows = [](uint32_t n) {
    return StepShape{.decode_rows = n, .decode_attended = 8 * n};
  };
  EXPECT_TRUE(forecast.RowFits(device, rows(0), request));
  EXPECT_TRUE(forecast.RowFits(device, rows(fit / 2), request));
  EXPECT_FALSE(forecast.RowFits(device, rows(2 * fit), request));
}

}  // namespace
}  // namespace braid
