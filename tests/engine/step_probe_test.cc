#include "engine/step_probe.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/device_state.h"
#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using ::testing::IsEmpty;

constexpr KvLayout kLayout{.layers = 1, .kv_heads = 1, .head_dim = 2};

StepShape ShapeOf(const ForwardBatch& batch) {
  StepShape shape;
  for (const SequenceRows& rows : batch.sequences) {
    const auto count = static_cast<uint32_t>(rows.tokens.size());
    if (count == 1) {
      shape.AddDecodeRow(rows.start + 1);
    } else {
      shape.AddChunk(rows.start, count);
    }
  }
  return shape;
}

// Takes as long as `time` says for that many lenders, by a clock that it moves.
class ModelledRunner final : public ModelRunner {
 public:
  ModelledRunner(std::vector<StepTimeModel> time, HandClock& clock)
      : time_(std::move(time)), clock_(clock) {}

  const KvLayout& kv_layout() const override { return kLayout; }
  uint32_t max_rows() const override { return max_rows_; }
  void Launch(const ForwardBatch& batch, StepCallbacks callbacks) override {
    ++launched_;
    Check(batch);
    const double seconds = time_[batch.lent.size()].Predict(ShapeOf(batch));
    thread_ = std::jthread([this, seconds, callbacks = std::move(callbacks)] {
      clock_.Move(std::chrono::duration_cast<Duration>(
          std::chrono::duration<double>(seconds)));
      ForwardResult result;
      if (fails_) result.status = absl::InternalError("no");
      callbacks.on_done(std::move(result));
    });
  }

  uint32_t max_rows_ = 512;
  bool fails_ = false;
  int launched_ = 0;
  std::set<BlockId> blocks_;  // of all steps

 private:
  // No two sequences of a step write a block, nor does one read what another
  // writes.
  void Check(const ForwardBatch& batch) {
    std::set<BlockId> written, read;
    for (const SequenceRows& rows : batch.sequences) {
      ASSERT_EQ(rows.blocks.size(),
                kLayout.BlocksFor(rows.start + rows.tokens.size()));
      ASSERT_EQ(rows.start % kLayout.block_tokens, 0u);
      for (size_t i = 0; i < rows.blocks.size(); ++i) {
        if (i < rows.start / kLayout.block_tokens) {
          read.insert(rows.blocks[i]);
        } else {
          EXPECT_TRUE(written.insert(rows.blocks[i]).second);
        }
      }
    }
    std::vector<BlockId> both;
    std::ranges::set_intersection(written, read, std::back_inserter(both));
    EXPECT_THAT(both, IsEmpty());
    blocks_.merge(written);
    blocks_.merge(read);
  }

  const std::vector<StepTimeModel> time_;
  HandClock& clock_;
  std::jthread thread_;
};

class StepProbeTest : public ::testing::Test {
 protected:
  StepProbeTest() {
    config_.clock = &clock_;
    config_.max_context = 8192;
  }
  // The i-th has an arena of its own unless all share one.
  ModelledRunner& AddDevice(bool shares_arena = false) {
    const auto index = static_cast<uint32_t>(config_.devices.size());
    if (index == 0 || !shares_arena) {
      config_.arenas.push_back(*KvArena::Create(kLayout, 64));
    }
    auto runner = std::make_unique<ModelledRunner>(
        std::vector{StepTimeModel(own_), StepTimeModel(lent_)}, clock_);
    ModelledRunner& made = *runner;
    config_.devices.push_back(
        {.id = DeviceId(index),
         .runner = std::move(runner),
         .arena = static_cast<uint32_t>(config_.arenas.size()) - 1});
    return made;
  }
  const std::vector<MeasuredStep>& measured(size_t device) const {
    return config_.devices[device].measured;
  }

  const StepTimeModel::Prior own_{.base = 4.4e-3,
                                  .chunk_token = 5.9e-4,
                                  .chunk_attended = 5.3e-7,
                                  .decode_row = 1e-3,
                                  .decode_attended = 1.2e-6};
  const StepTimeModel::Prior lent_{.base = 2.2e-3,
                                   .chunk_token = 3e-4,
                                   .chunk_attended = 3.5e-7,
                                   .decode_row = 0.5e-3,
                                   .decode_attended = 6e-7};
  HandClock clock_;
  EngineConfig config_;
};

TEST_F(StepProbeTest, AModelKnowsTheDeviceFromIt) {
  AddDevice();
  MeasureSteps(config_);
  DeviceState state({.measured = measured(0)}, 0, 1, 1);
  ASSERT_GE(state.time[0].observed(), DeviceState::kWarmSteps);
  StepShape rows{.decode_rows = 5, .decode_attended = 5 * 300};
  StepShape prompt;
  prompt.AddChunk(64, 200);
  StepShape mixed = rows;
  mixed.AddChunk(0, 48);
  const StepTimeModel real(own_);
  for (const StepShape& shape : {rows, prompt, mixed}) {
    EXPECT_NEAR(state.time[0].Predict(shape) / real.Predict(shape), 1, 0.1);
  }
}

TEST_F(StepProbeTest, DevicesAreMeasuredTogetherAndThenOnEachOthersCores) {
  for (const bool shares_arena : {false, true}) {
    config_.devices.clear();
    config_.arenas.clear();
    ModelledRunner& one = AddDevice();
    ModelledRunner& other = AddDevice(shares_arena);
    MeasureSteps(config_);
    ASSERT_EQ(measured(0).size(), measured(1).size());
    const size_t half = measured(0).size() / 2;
    for (size_t i = 0; i < measured(0).size(); ++i) {
      EXPECT_EQ(measured(0)[i].lent, i < half ? 0u : 1u);
      EXPECT_EQ(measured(0)[i].shape, measured(0)[i % half].shape);
      EXPECT_EQ(measured(0)[i].shape, measured(1)[i].shape);
    }
    // Alone, a step takes just as long as it does.
    for (size_t i = half; i < measured(1).size(); ++i) {
      EXPECT_NEAR(measured(1)[i].seconds,
                  StepTimeModel(lent_).Predict(measured(1)[i].shape), 1e-8);
    }
    if (!shares_arena) continue;
    for (const BlockId block : one.blocks_) {
      EXPECT_FALSE(other.blocks_.contains(block)) << block;
    }
  }
}

TEST_F(StepProbeTest, NobodyIsLentWhereNobodyLends) {
  config_.lend_cores = false;
  AddDevice();
  AddDevice();
  MeasureSteps(config_);
  for (const MeasuredStep& step : measured(0)) EXPECT_EQ(step.lent, 0u);
}

TEST_F(StepProbeTest, ItEndsWithItsTime) {
  const ModelledRunner& runner = AddDevice();
  const TimePoint begin = clock_.Now();
  MeasureSteps(config_, milliseconds(100));
  const TimePoint end = clock_.Now();
  EXPECT_GE(end - begin, milliseconds(100));
  const int launched = runner.launched_;
  MeasureSteps(config_, milliseconds(0));
  EXPECT_EQ(runner.launched_, launched);
  EXPECT_EQ(clock_.Now(), end);
}

TEST_F(StepProbeTest, WhatHasNoRoomIsLeftOut) {
  ModelledRunner& runner = AddDevice();
  config_.max_context = 128;
  runner.max_rows_ = 32;
  MeasureSteps(config_);
  EXPECT_FALSE(measured(0).empty());
  for (const MeasuredStep& step : measured(0)) {
    EXPECT_LE(step.shape.chunk_tokens + step.shape.decode_rows, 32u);
    EXPECT_LE(step.shape.decode_attended, 128u * step.shape.decode_rows);
  }
  config_.devices[0].measured.clear();
  config_.arenas[0] = *KvArena::Create(kLayout, 4);
  MeasureSteps(config_);
  EXPECT_THAT(measured(0), IsEmpty());
}

TEST_F(StepProbeTest, AFailedStepSaysNothing) {
  ModelledRunner& runner = AddDevice();
  runner.fails_ = true;
  MeasureSteps(config_);
  EXPECT_THAT(measured(0), IsEmpty());
}

}  // namespace
}  // namespace braid
