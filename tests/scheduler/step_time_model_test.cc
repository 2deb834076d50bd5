#include "scheduler/step_time_model.h"

#include <cmath>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

// A device whose times are what the model can say.
struct Device {
  double base = 0.004, token = 0.0002, attended = 3e-8, row = 0.0004,
         row_attended = 2e-7;
  double Seconds(const StepShape& s) const {
    return base + token * s.chunk_tokens + attended * s.chunk_attended +
           row * s.decode_rows + row_attended * s.decode_attended;
  }
};

StepShape DecodeStep(Rng& rng) {
  StepShape shape;
  const uint64_t rows = 1 + rng.Below(32);
  for (uint64_t i = 0; i < rows; ++i) shape.AddDecodeRow(1 + rng.Below(4000));
  return shape;
}

StepShape ChunkStep(Rng& rng) {
  StepShape shape;
  shape.AddChunk(static_cast<uint32_t>(rng.Below(8000)),
                 1 + static_cast<uint32_t>(rng.Below(512)));
  return shape;
}

StepShape AnyStep(Rng& rng) {
  switch (rng.Below(3)) {
    case 0:
      return DecodeStep(rng);
    case 1:
      return ChunkStep(rng);
    default: {
      StepShape shape = DecodeStep(rng);
      shape.AddChunk(static_cast<uint32_t>(rng.Below(8000)),
                     1 + static_cast<uint32_t>(rng.Below(512)));
      return shape;
    }
  }
}

double Noise(Rng& rng, double most) {
  return 1 + most * (2 * rng.Uniform() - 1);
}

// Mean relative error over `count` fresh steps.
template <typename Step>
double ErrorOn(const StepTimeModel& model, const Device& device, Step step,
               int count = 500) {
  Rng rng(99);
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    const StepShape shape = step(rng);
    const double seconds = device.Seconds(shape);
    sum += std::abs(model.Predict(shape) - seconds) / seconds;
  }
  return sum / count;
}

TEST(StepTimeModelTest, BelievesItsPriorUntilItSeesAStep) {
  StepTimeModel model({.base = 0.01,
                       .chunk_token = 0.001,
                       .chunk_attended = 1e-6,
                       .decode_row = 0.002,
                       .decode_attended = 1e-5});
  StepShape shape;
  shape.AddChunk(10, 4);
  EXPECT_EQ(shape.chunk_attended, 11u + 12 + 13 + 14);
  shape.AddDecodeRow(100);
  EXPECT_NEAR(model.Predict(shape), 0.01 + 0.004 + 50e-6 + 0.002 + 0.001, 1e-9);
  EXPECT_EQ(model.relative_error(), 0);
  EXPECT_EQ(model.observed(), 0u);
}

TEST(StepTimeModelTest, OneStepTellsHowFastTheDeviceIs) {
  StepTimeModel model;
  const StepTimeModel prior;
  Rng rng(1);
  const StepShape seen = ChunkStep(rng);
  model.Observe(seen, prior.Predict(seen) / 50);
  EXPECT_GT(model.relative_error(), 9);
  const StepShape other = DecodeStep(rng);
  EXPECT_NEAR(model.Predict(other) / prior.Predict(other), 1.0 / 50, 1e-6);
}

TEST(StepTimeModelTest, RecoversADeviceFromNoisySteps) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    StepTimeModel model;
    const Device device;
    for (int i = 0; i < 400; ++i) {
      const StepShape shape = AnyStep(rng);
      model.Observe(shape, device.Seconds(shape) * Noise(rng, 0.15));
    }
    EXPECT_LT(ErrorOn(model, device, AnyStep), 0.05) << seed;
    EXPECT_LT(ErrorOn(model, device, DecodeStep), 0.05) << seed;
    EXPECT_LT(ErrorOn(model, device, ChunkStep), 0.05) << seed;
    // 15 % of uniform noise is 7.5 % on average.
    EXPECT_LT(model.relative_error(), 0.13) << seed;
  }
}

TEST(StepTimeModelTest, LargestChunkIsWhatPredictSays) {
  Rng rng(7);
  for (int i = 0; i < 3000; ++i) {
    const auto some = [&](double most) {
      return rng.Below(4) == 0 ? 0.0 : most * rng.Uniform();
    };
    const StepTimeModel model({.base = some(0.01),
                               .chunk_token = some(0.001),
                               .chunk_attended = some(1e-5),
                               .decode_row = some(0.01),
                               .decode_attended = some(1e-5)});
    const StepShape shape = rng.Below(4) == 0 ? StepShape() : AnyStep(rng);
    const auto before = static_cast<uint32_t>(rng.Below(20000));
    const auto max = static_cast<uint32_t>(rng.Below(700));
    const double budget = model.Predict(shape) + some(0.3) - some(0.01);
    uint32_t most = 0;
    for (uint32_t n = 1; n <= max; ++n) {
      StepShape grown = shape;
      grown.AddChunk(before, n);
      if (model.Predict(grown) <= budget) most = n;
    }
    ASSERT_EQ(model.LargestChunk(shape, before, max, budget), most) << i;
  }
}

}  // namespace
}  // namespace braid
