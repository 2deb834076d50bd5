#include "scheduler/stream_filler.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

constexpr StepTimeModel::Prior kSteps = {.base = 0.010,
                                         .chunk_token = 0.001,
                                         .chunk_attended = 0,
                                         .decode_row = 0.001,
                                         .decode_attended = 0,
                                         .stream_row = 0.001};
const std::vector<double> kGain = {0, 0.030, 0.045, 0.052};

StreamLimits Limits(double seconds) {
  return {.seconds = seconds,
          .rows = 1000,
          .slice = 64,
          .blocks = 1000,
          .block_tokens = 16};
}

// Up to four streams, that have missed `lag` tokens each.
StreamCandidate Candidate(uint32_t position, uint32_t lag,
                          uint32_t remaining = 100) {
  StreamCandidate candidate{
      .position = position, .remaining = remaining, .most = 4, .gain = kGain};
  candidate.computed.fill(position - lag);
  candidate.blocks.fill((position - lag + 15) / 16);
  return candidate;
}

StepShape Rows(std::span<const StreamCandidate> candidates) {
  StepShape shape;
  for (const StreamCandidate& candidate : candidates) {
    shape.AddDecodeRow(candidate.position + 1);
  }
  return shape;
}

StreamFill Fill(std::span<StreamCandidate> candidates,
                const StreamLimits& limits,
                const StepTimeModel::Prior& steps = kSteps) {
  return StreamFiller().Fill(candidates, Rows(candidates), StepTimeModel(steps),
                             limits);
}

TEST(StreamFillerTest, ALoneRequestHasAllItsStreams) {
  StreamCandidate one[] = {Candidate(100, 0)};
  const StreamFill fill = Fill(one, Limits(1));
  EXPECT_EQ(one[0].gang, 4u);
  EXPECT_EQ(fill.rows, 3u);
  EXPECT_EQ(fill.caught_up, 0u);
  EXPECT_NEAR(fill.gain, 0.052, 1e-12);
}

TEST(StreamFillerTest, NothingFitsIntoAStepThatIsLateAlready) {
  StreamCandidate one[] = {Candidate(100, 0)};
  EXPECT_EQ(Fill(one, Limits(0.0115)).rows, 0u);
  EXPECT_EQ(one[0].gang, 1u);
}

// The second stream gains the most, so everybody has it before anybody has a
// third.
TEST(StreamFillerTest, FirstWhatGainsMost) {
  StreamCandidate three[] = {Candidate(100, 0), Candidate(50, 0),
                             Candidate(70, 0)};
  StreamLimits limits = Limits(1);
  limits.rows = 4;
  EXPECT_EQ(Fill(three, limits).rows, 4u);
  EXPECT_EQ(three[0].gang, 3u);
  EXPECT_EQ(three[1].gang, 2u);
  EXPECT_EQ(three[2].gang, 2u);
}

TEST(StreamFillerTest, AShortContextIsCheaper) {
  StepTimeModel::Prior steps = kSteps;
  steps.decode_attended = 1e-6;
  StreamCandidate two[] = {Candidate(4000, 0), Candidate(50, 0)};
  StreamLimits limits = Limits(1);
  limits.rows = 2;
  Fill(two, limits, steps);
  EXPECT_EQ(two[0].gang, 1u);
  EXPECT_EQ(two[1].gang, 3u);
}

TEST(StreamFillerTest, WhatACallerWantsComesFirst) {
  StreamCandidate two[] = {Candidate(100, 0), Candidate(100, 0)};
  two[1].wanted = 3;
  StreamLimits limits = Limits(1);
  limits.rows = 2;
  Fill(two, limits);
  EXPECT_EQ(two[0].gang, 1u);
  EXPECT_EQ(two[1].gang, 3u);
}

TEST(StreamFillerTest, WhatGainsNothingIsNotRunUnlessItIsWanted) {
  const std::vector<double> flat = {0, 0.01, 0.01, 0.01};
  StreamCandidate two[] = {Candidate(100, 0), Candidate(100, 0)};
  two[0].gain = two[1].gain = flat;
  two[1].wanted = 3;
  Fill(two, Limits(1));
  EXPECT_EQ(two[0].gang, 2u);
  EXPECT_EQ(two[1].gang, 3u);
}

// Lag of 7: its eight rows fit, and it answers at once.
TEST(StreamFillerTest, ALongerAppendBringsAStreamBack) {
  StreamCandidate one[] = {Candidate(100, 0)};
  one[0].computed[3] = 93;
  const StreamFill fill = Fill(one, Limits(1));
  EXPECT_EQ(one[0].gang, 4u);
  EXPECT_EQ(one[0].rows[3], 8u);
  EXPECT_EQ(fill.caught_up, 7u);
}

// 10 ms + 1 ms for the row: 4 ms are four rows.
TEST(StreamFillerTest, WhatFitsOfALongLagIsRunAndDoesNotAnswer) {
  StreamCandidate one[] = {Candidate(100, 50)};
  const StreamFill fill = Fill(one, Limits(0.0151));
  EXPECT_EQ(one[0].gang, 1u);
  EXPECT_EQ(one[0].rows[1], 4u);
  EXPECT_EQ(one[0].rows[2], 0u);
  EXPECT_EQ(fill.caught_up, 4u);
  EXPECT_EQ(fill.gain, 0);
}

TEST(StreamFillerTest, NoStreamCatchesUpForAnAnswerThatIsOverBefore) {
  // 4 rows a step, of which one is the request's own progress: 17 steps.
  StreamCandidate one[] = {Candidate(100, 50, 17)};
  EXPECT_EQ(Fill(one, Limits(0.0151)).rows, 0u);
  one[0] = Candidate(100, 50, 18);
  EXPECT_EQ(Fill(one, Limits(0.0151)).rows, 4u);
}

TEST(StreamFillerTest, ALagCountsForLessWhereMuchIsToCome) {
  StreamCandidate two[] = {Candidate(100, 30, 40), Candidate(100, 30, 400)};
  StreamLimits limits = Limits(1);
  limits.rows = 40;
  Fill(two, limits);
  EXPECT_EQ(two[0].gang, 1u);
  EXPECT_EQ(two[1].gang, 2u);
  EXPECT_EQ(two[1].rows[1], 31u);
}

TEST(StreamFillerTest, BlocksAndSlicesBoundWhatIsTaken) {
  StreamCandidate one[] = {Candidate(200, 200, 10000)};
  StreamLimits limits = Limits(1);
  limits.slice = 40;
  EXPECT_EQ(Fill(one, limits).rows, 40u);
  one[0] = Candidate(200, 200, 10000);
  limits.blocks = 2;
  const StreamFill fill = Fill(one, limits);
  EXPECT_EQ(fill.rows, 32u);
  EXPECT_EQ(fill.blocks, 2u);
  // A block that is not full is its own.
  one[0] = Candidate(200, 195, 10000);
  limits.blocks = 0;
  EXPECT_EQ(Fill(one, limits).rows, 11u);
}

TEST(StreamFillerTest, OfferedIsWhatFitsBeforeTheDue) {
  const StreamCandidate two[] = {Candidate(100, 90), Candidate(100, 0)};
  const auto offered = [&](double seconds, uint32_t rows) {
    return StreamFiller::Offered(two, Rows(two), StepTimeModel(kSteps), seconds,
                                 rows);
  };
  EXPECT_EQ(offered(1, 1000), 6u);
  EXPECT_EQ(offered(1, 4), 4u);
  EXPECT_EQ(offered(0.0151, 1000), 3u);
  EXPECT_EQ(offered(0.011, 1000), 0u);
}

// Against all ways to fill: the rules always hold; nothing is better where all
// rows cost the same; and else by less than one stream.
class NaiveTest : public testing::Test {
 protected:
  struct Case {
    std::vector<std::vector<double>> gains;
    std::vector<StreamCandidate> candidates;
    StepTimeModel::Prior steps = kSteps;
    StreamLimits limits;
  };

  Case RandomCase(Rng& rng, bool equal_costs) {
    Case c;
    const uint64_t n = 1 + rng.Below(4);
    c.gains.resize(n);
    for (uint64_t i = 0; i < n; ++i) {
      // Less with every stream.
      double each = 0.01 * rng.Uniform(), sum = 0;
      for (uint32_t p = 0; p < 4; ++p) {
        c.gains[i].push_back(sum);
        sum += each;
        each *= rng.Uniform();
      }
      StreamCandidate candidate{
          .position = 1 + static_cast<uint32_t>(rng.Below(500)),
          .remaining = 1 + static_cast<uint32_t>(rng.Below(100)),
          .most = 1 + static_cast<uint32_t>(rng.Below(4))};
      candidate.computed.fill(candidate.position);
      candidate.blocks.fill((candidate.position + 15) / 16);
      c.candidates.push_back(candidate);
    }
    for (uint64_t i = 0; i < n; ++i) c.candidates[i].gain = c.gains[i];
    if (!equal_costs) c.steps.decode_attended = 1e-5 * rng.Uniform();
    c.limits = Limits(0.010 + 0.015 * rng.Uniform());
    c.limits.rows = static_cast<uint32_t>(rng.Below(12));
    return c;
  }

  double Best(const Case& c) {
    const StepTimeModel time(c.steps);
    double best = 0;
    std::vector<uint32_t> gangs(c.candidates.size(), 1);
    const std::function<void(size_t)> choose = [&](size_t i) {
      if (i == gangs.size()) {
        StepShape shape = Rows(c.candidates);
        uint32_t rows = 0;
        double gain = 0;
        for (size_t k = 0; k < gangs.size(); ++k) {
          for (uint32_t s = 1; s < gangs[k]; ++s) {
            shape.AddStreamRows(c.candidates[k].position, 1);
          }
          rows += gangs[k] - 1;
          gain += c.gains[k][gangs[k] - 1];
        }
        if (rows == 0 || (rows <= c.limits.rows &&
                          time.Predict(shape) <= c.limits.seconds)) {
          best = std::max(best, gain);
        }
        return;
      }
      for (gangs[i] = 1; gangs[i] <= c.candidates[i].most; ++gangs[i]) {
        choose(i + 1);
      }
      gangs[i] = 1;
    };
    choose(0);
    return best;
  }
};

TEST_F(NaiveTest, NoWayToFillIsBetter) {
  Rng rng(7);
  int filled = 0;
  for (int i = 0; i < 3000; ++i) {
    const bool equal_costs = i % 2 == 0;
    Case c = RandomCase(rng, equal_costs);
    const double best = Best(c);
    const StreamFill fill = Fill(c.candidates, c.limits, c.steps);
    filled += fill.rows > 0;
    StepShape shape = Rows(c.candidates);
    double gain = 0, largest = 0;
    for (size_t k = 0; k < c.candidates.size(); ++k) {
      const StreamCandidate& candidate = c.candidates[k];
      ASSERT_LE(candidate.gang, candidate.most);
      for (uint32_t s = 1; s < candidate.gang; ++s) {
        ASSERT_EQ(candidate.rows[s], 1u);
        shape.AddStreamRows(candidate.position, 1);
      }
      gain += c.gains[k][candidate.gang - 1];
      largest = std::max(largest, c.gains[k][1]);
    }
    ASSERT_NEAR(gain, fill.gain, 1e-12);
    ASSERT_EQ(shape.stream_rows + shape.chunk_tokens, fill.rows);
    ASSERT_LE(fill.rows, c.limits.rows);
    if (fill.rows > 0) {
      ASSERT_LE(StepTimeModel(c.steps).Predict(shape), c.limits.seconds);
    }
    if (equal_costs) {
      ASSERT_NEAR(gain, best, 1e-12) << i;
    } else {
      ASSERT_LE(best, gain + largest + 1e-12) << i;
    }
  }
  EXPECT_GT(filled, 1500);
}

// Streams that lag in any way, and every limit: what is given is within them,
// and continues what is there.
TEST_F(NaiveTest, WhateverIsGivenIsWithinTheLimits) {
  Rng rng(8);
  int partial = 0, answered_late = 0;
  for (int i = 0; i < 3000; ++i) {
    Case c = RandomCase(rng, /*equal_costs=*/false);
    c.limits.rows = static_cast<uint32_t>(rng.Below(100));
    c.limits.slice = static_cast<uint32_t>(rng.Below(40));
    c.limits.blocks = static_cast<uint32_t>(rng.Below(6));
    for (StreamCandidate& candidate : c.candidates) {
      for (uint32_t s = 1; s < candidate.most; ++s) {
        candidate.computed[s] = static_cast<uint32_t>(
            candidate.position -
            std::min<uint64_t>(candidate.position, rng.Below(20)));
        candidate.blocks[s] = (candidate.computed[s] + 15) / 16;
      }
    }
    const StepShape plain = Rows(c.candidates);
    const StreamFill fill = Fill(c.candidates, c.limits, c.steps);
    StepShape shape = plain;
    uint32_t blocks = 0, caught_up = 0;
    for (const StreamCandidate& candidate : c.candidates) {
      for (uint32_t s = 1; s < candidate.most; ++s) {
        const uint32_t rows = candidate.rows[s];
        const uint32_t lag = candidate.position - candidate.computed[s];
        if (s < candidate.gang) {
          ASSERT_EQ(rows, lag + 1);
          caught_up += lag;
          answered_late += lag > 0;
        } else if (s == candidate.gang) {
          ASSERT_LE(rows, lag);
          ASSERT_NE(rows, 1u);
          caught_up += rows;
          partial += rows > 0;
        } else {
          ASSERT_EQ(rows, 0u);
        }
        ASSERT_LE(rows, std::max(c.limits.slice, 1u));
        shape.AddStreamRows(candidate.computed[s], rows);
        const uint32_t needed = (candidate.computed[s] + rows + 15) / 16;
        if (rows > 0) blocks += needed - std::min(needed, candidate.blocks[s]);
      }
    }
    ASSERT_EQ(shape.stream_rows + shape.chunk_tokens, fill.rows);
    ASSERT_EQ(caught_up, fill.caught_up);
    ASSERT_EQ(blocks, fill.blocks);
    ASSERT_LE(fill.rows, c.limits.rows);
    ASSERT_LE(blocks, c.limits.blocks);
    if (fill.rows > 0) {
      ASSERT_LE(StepTimeModel(c.steps).Predict(shape), c.limits.seconds);
    }
  }
  EXPECT_GT(partial, 100);
  EXPECT_GT(answered_late, 100);
}

}  // namespace
}  // namespace braid
