// PARSCALE streams in the replay of traces.
#include <string>

#include <gtest/gtest.h>

#include "simulator/replay/policies.h"
#include "simulator/replay/replay_driver.h"
#include "simulator/replay/replay_report.h"

namespace braid {
namespace {

ReplayResult RunOn(const Trace& trace, const ClusterSpec& cluster) {
  const auto times = LoadWorkerTimes(cluster, "");
  EXPECT_TRUE(times.ok()) << times.status();
  auto result = Replay(trace, cluster, *times,
                       MakePolicy(*ParsePolicy("braid"), cluster.block_tokens));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : ReplayResult();
}

// A step takes 10 ms, any row 0.1 ms.
ClusterSpec OneWorker(StreamMode mode) {
  ClusterSpec cluster;
  cluster.workers = {{}};
  cluster.split = SplitMode::kOff;
  cluster.kv_tokens = 100'000;
  cluster.kv_bytes_per_token = 1000;
  cluster.prefill_chunk = 512;
  cluster.step_seconds = StepTimeModel::Prior{.base = 0.010,
                                              .chunk_token = 1e-4,
                                              .chunk_attended = 0,
                                              .decode_row = 1e-4,
                                              .decode_attended = 0,
                                              .stream_row = 1e-4};
  cluster.tpot_target = 0.050;
  cluster.streams.mode = mode;
  return cluster;
}

TEST(ReplayStreamsTest, EveryRowOfAStreamTakesItsTime) {
  constexpr uint32_t kAnswer = 400;
  Trace trace{.name = "test", .format = "test"};
  trace.requests = {{.prompt_tokens = 256, .output_tokens = kAnswer}};
  trace.blocks = {0};
  trace.distinct_blocks = 1;
  const ReplayResult off = RunOn(trace, OneWorker(StreamMode::kOff));
  const ReplayResult on = RunOn(trace, OneWorker(StreamMode::kAuto));
  const StreamCounts& streams = on.streams;
  // The first token owes streams nothing.
  EXPECT_EQ(on.requests[0].first_token, off.requests[0].first_token);
  EXPECT_EQ(off.streams.steps, 0u);
  EXPECT_EQ(off.streams.tokens[1], kAnswer);
  uint64_t tokens = 0, further = 0;
  for (uint32_t p = 1; p <= 4; ++p) {
    tokens += streams.tokens[p];
    further += (p - 1) * streams.tokens[p];
  }
  EXPECT_EQ(tokens, kAnswer);
  EXPECT_EQ(further, streams.stats.filled);
  // Alone it has all four of them most of the time.
  EXPECT_GT(streams.tokens[4], kAnswer / 2);
  // Three streams missed the prompt.
  EXPECT_GE(streams.stats.caught_up, 3 * 256u);
  const auto seconds = [](const ReplayResult& result) {
    return result.requests[0].last_token - result.requests[0].first_token;
  };
  const auto rows =
      static_cast<double>(streams.stats.filled + streams.stats.caught_up);
  EXPECT_NEAR(seconds(on) - seconds(off), 1e-4 * rows, 1e-6);
}

// The small form of bench/parscale_harvest.py.
TEST(ReplayStreamsTest, IdleGpusServeMoreStreamsAndNoRequestLess) {
  const auto trace =
      ReadTrace(BRAID_SOURCE_DIR "/bench/traces/conversation_trace.jsonl.gz",
                {.scale = 0.05, .max_requests = 200});
  ASSERT_TRUE(trace.ok()) << trace.status();
  auto cluster =
      ReadCluster(BRAID_SOURCE_DIR "/bench/clusters/h200x16_qwen3_32b.json");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const auto met = [&](const ReplayResult& result) {
    return Count(result, *trace, *cluster, 200).met;
  };
  const ReplayResult off = RunOn(*trace, *cluster);
  cluster->streams.mode = StreamMode::kAuto;
  const ReplayResult on = RunOn(*trace, *cluster);
  EXPECT_GE(met(on) + 1, met(off));
  EXPECT_GT(on.streams.stats.filled, 0u);
  EXPECT_GT(on.streams.stats.gain, 0);
  const ReplayLabels labels{.policy = *ParsePolicy("braid")};
  const auto json = [&](const ReplayResult& result) {
    return ReplayJson(result, Count(result, *trace, *cluster, 200), *trace,
                      *cluster, labels, false);
  };
  EXPECT_TRUE(json(on) == json(RunOn(*trace, *cluster)));
}

}  // namespace
}  // namespace braid
