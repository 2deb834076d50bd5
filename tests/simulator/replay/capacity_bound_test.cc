#include "simulator/replay/capacity_bound.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/rng.h"

namespace braid {
namespace {

// Every subset, in order of arrival.
uint64_t BestOfAll(const std::vector<PromptJob>& jobs, double target) {
  uint64_t best = 0;
  for (unsigned mask = 0; mask < 1u << jobs.size(); ++mask) {
    double at = 0;
    uint64_t count = 0;
    bool on_time = true;
    for (size_t i = 0; i < jobs.size() && on_time; ++i) {
      if (!(mask >> i & 1)) continue;
      at = std::max(at, jobs[i].arrival) + jobs[i].work;
      on_time = at <= jobs[i].arrival + target;
      ++count;
    }
    if (on_time) best = std::max(best, count);
  }
  return best;
}

TEST(CapacityBoundTest, RefusesAsFewAsPossible) {
  Rng rng(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<PromptJob> jobs(1 + round % 10);
    double at = 0;
    for (PromptJob& job : jobs) {
      at += rng.Uniform() < 0.5 ? 0 : rng.Uniform();
      job = {.arrival = at, .work = 0.05 + rng.Uniform()};
    }
    EXPECT_EQ(MostOnTime(jobs, 1), BestOfAll(jobs, 1)) << "round " << round;
  }
}

TEST(CapacityBoundTest, ByHand) {
  // Two workers, a millisecond per prompt token and for every row.
  ClusterSpec cluster;
  cluster.workers = {{}, {}};
  cluster.ttft_target = 1;
  cluster.tpot_target = 0.1;
  cluster.prefill_chunk = 512;
  const WorkerTimes times{.seconds = [](std::span<const ChunkRows> chunks,
                                        uint32_t rows, uint64_t, uint32_t) {
    double seconds = 0.001 * rows;
    for (const ChunkRows& chunk : chunks) seconds += 0.001 * chunk.count;
    return seconds;
  }};
  Trace trace;
  trace.distinct_blocks = 4;
  trace.blocks = {0, 1, 2, 0, 3};
  // 500 tokens, 500, and behind a known block 988 and 488.
  trace.requests = {
      {0, 500, 1, 0}, {0, 500, 11, 1}, {0, 1500, 1, 1}, {0, 1000, 1, 3}};
  const CapacityBound bound = BoundOf(trace, cluster, times);
  // Together 2.476 s, of which two workers have 2 in time.
  EXPECT_EQ(bound.by_prompts, 3u);
  // The last answer ends at 2 s at the latest: 4 s of the workers.
  EXPECT_EQ(bound.by_work, 4u);
  EXPECT_NEAR(bound.answer_seconds, 0.010, 1e-9);
}

}  // namespace
}  // namespace braid
