#include "simulator/replay/replay_driver.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "simulator/replay/policies.h"
#include "simulator/replay/replay_report.h"

namespace braid {
namespace {

constexpr double kTick = 2e-8;  // what rounding to the clock's ticks may add

// Round numbers: a prompt token takes 0.1 ms, a step 10 ms, a decode row 1 ms.
ClusterSpec OneWorker() {
  ClusterSpec cluster;
  cluster.name = "test";
  cluster.workers = {{}};
  cluster.split = SplitMode::kOff;
  cluster.kv_tokens = 1'000'000;
  cluster.kv_bytes_per_token = 1'000'000;
  cluster.prefill_chunk = 512;
  cluster.step_seconds = StepTimeModel::Prior{.base = 0.010,
                                              .chunk_token = 1e-4,
                                              .chunk_attended = 0,
                                              .decode_row = 1e-3,
                                              .decode_attended = 0};
  // Nothing is ever refused or due.
  cluster.ttft_target = 1e4;
  cluster.tpot_target = 1e3;
  return cluster;
}

Trace Requests(const std::vector<TraceRequest>& requests) {
  Trace trace{.name = "test", .format = "test"};
  for (TraceRequest request : requests) {
    request.first_block = trace.blocks.size();
    for (uint32_t at = 0; at < request.prompt_tokens; at += kTraceBlockTokens) {
      trace.blocks.push_back(trace.distinct_blocks++);
    }
    trace.requests.push_back(request);
  }
  return trace;
}

ReplayResult RunOn(const Trace& trace, const ClusterSpec& cluster,
                   const std::string& policy = "braid") {
  const auto times = LoadWorkerTimes(cluster, "");
  EXPECT_TRUE(times.ok()) << times.status();
  const auto spec = ParsePolicy(policy);
  EXPECT_TRUE(spec.ok()) << spec.status();
  auto result =
      Replay(trace, cluster, *times, MakePolicy(*spec, cluster.block_tokens));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : ReplayResult();
}

TEST(ReplayDriverTest, OneRequestAloneIsArithmetic) {
  const ReplayResult result = RunOn(
      Requests({{.arrival = 1, .prompt_tokens = 1000, .output_tokens = 4}}),
      OneWorker());
  ASSERT_EQ(result.requests.size(), 1u);
  const RequestOutcome& request = result.requests[0];
  EXPECT_EQ(request.end, RequestEnd::kServed);
  // Chunks of 512 and 488, then three steps of one row.
  EXPECT_NEAR(request.first_token, 0.010 + 0.0512 + 0.010 + 0.0488, kTick);
  EXPECT_NEAR(request.tpot(), 0.011, kTick);
  EXPECT_NEAR(request.longest_gap, 0.011, kTick);
  EXPECT_EQ(result.steps, 5u);
  EXPECT_EQ(result.decode_rows, 3u);
  EXPECT_EQ(result.chunk_tokens, 1000u);
}

// Equal requests whose prompts fill a step each and that want one token: a
// queue with one server, whose waiting times Lindley's recursion gives.
TEST(ReplayDriverTest, EqualRequestsAreAQueueWithOneServer) {
  constexpr double kService = 0.010 + 512 * 1e-4;
  Rng rng(7);
  std::vector<TraceRequest> requests;
  double arrival = 0;
  for (int i = 0; i < 2000; ++i) {
    // Load 0.8: queues build up and drain.
    arrival += -std::log(1 - rng.Uniform()) * kService / 0.8;
    requests.push_back(
        {.arrival = arrival, .prompt_tokens = 512, .output_tokens = 1});
  }
  const ReplayResult result = RunOn(Requests(requests), OneWorker());
  double free = 0, waited = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    free = std::max(free, requests[i].arrival) + kService;
    ASSERT_NEAR(result.requests[i].first_token, free - requests[i].arrival,
                2e-6)
        << "request " << i;
    waited += free - kService - requests[i].arrival;
  }
  // And what Pollaczek and Khinchine say of its mean: rho s / 2 (1 - rho).
  EXPECT_NEAR(waited / 2000, 0.8 * kService / 2 / 0.2, 0.03);
}

TEST(ReplayDriverTest, AHandOverTakesWhatTheLinkTakes) {
  ClusterSpec cluster = OneWorker();
  cluster.workers = {{.role = DeviceRole::kPrefill},
                     {.role = DeviceRole::kDecode}};
  cluster.split = SplitMode::kOn;
  cluster.links = {.nvlink = 100e9, .network = 10e9, .latency = 0.001};
  cluster.transfer_groups = 16;
  const Trace trace =
      Requests({{.arrival = 0, .prompt_tokens = 512, .output_tokens = 3}});
  const ReplayResult near = RunOn(trace, cluster);
  const RequestOutcome& request = near.requests[0];
  EXPECT_EQ(request.prefill, 0u);
  EXPECT_EQ(request.decode, 1u);
  EXPECT_NEAR(request.first_token, 0.0612, kTick);
  // 15 of 16 groups left during the step; the last one is 32 MB.
  EXPECT_NEAR(request.handed_over, 0.001 + 32e6 / 100e9, kTick);
  EXPECT_NEAR(request.last_token - request.first_token,
              request.handed_over + 2 * 0.011, kTick);
  EXPECT_NEAR(near.nvlink_bytes, 512e6, 1);
  EXPECT_EQ(near.network_bytes, 0);

  // A link that is slower than the step: 0.512 GB at 1 GB/s, begun when the
  // first sixteenth of the step is over.
  cluster.links.nvlink = 1e9;
  const ReplayResult slow = RunOn(trace, cluster);
  EXPECT_NEAR(slow.requests[0].handed_over,
              0.0612 / 16 + 0.001 + 0.512 - 0.0612, kTick);
}

TEST(ReplayDriverTest, EqualPromptsAreFoundInTheCache) {
  Trace trace =
      Requests({{.arrival = 0, .prompt_tokens = 2048, .output_tokens = 2},
                {.arrival = 10, .prompt_tokens = 2048, .output_tokens = 2}});
  trace.requests[1].first_block = 0;
  const ReplayResult result = RunOn(trace, OneWorker());
  EXPECT_EQ(result.requests[0].cached, 0u);
  // All but the block of the last token, whose logits are wanted.
  EXPECT_EQ(result.requests[1].cached, 2048u - 16);
  EXPECT_NEAR(result.requests[1].first_token, 0.010 + 16 * 1e-4, kTick);
}

TEST(ReplayDriverTest, WhatNeverFitsIsCountedAndHoldsNobodyUp) {
  ClusterSpec cluster = OneWorker();
  cluster.max_context = 1000;
  const ReplayResult result = RunOn(
      Requests({{.arrival = 0, .prompt_tokens = 1000, .output_tokens = 5},
                {.arrival = 0, .prompt_tokens = 100, .output_tokens = 0}}),
      cluster);
  EXPECT_EQ(result.requests[0].end, RequestEnd::kTooLong);
  EXPECT_EQ(result.requests[1].end, RequestEnd::kServed);
  // No answer is shorter than a token: TTFT would mean nothing.
  EXPECT_EQ(result.requests[1].output, 1u);
}

TEST(ReplayDriverTest, AHookMayEndIt) {
  std::vector<TraceRequest> requests(
      3000, {.arrival = 0, .prompt_tokens = 16, .output_tokens = 1});
  for (size_t i = 0; i < requests.size(); ++i) requests[i].arrival = i;
  const ClusterSpec cluster = OneWorker();
  const auto times = LoadWorkerTimes(cluster, "");
  ASSERT_TRUE(times.ok());
  ReplayHooks hooks;
  hooks.progress = [](const ReplayProgress&) { return false; };
  const auto result = Replay(Requests(requests), cluster, *times,
                             MakePolicy(*ParsePolicy("braid"), 16), hooks);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->cut_short);
  EXPECT_LT(result->end, 3000);
}

TEST(ReplayDriverTest, TellsEveryDecision) {
  const ClusterSpec cluster = OneWorker();
  const auto times = LoadWorkerTimes(cluster, "");
  ASSERT_TRUE(times.ok());
  std::vector<std::string> lines;
  ReplayHooks hooks;
  hooks.decision = [&](const std::string& line) { lines.push_back(line); };
  ASSERT_TRUE(
      Replay(
          Requests({{.prompt_tokens = 16, .output_tokens = 2},
                    {.arrival = 9, .prompt_tokens = 16, .output_tokens = 2}}),
          cluster, *times, MakePolicy(*ParsePolicy("braid"), 16), hooks)
          .ok());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[1].find("placed r2 d0"), std::string::npos) << lines[1];
}

struct Case {
  const char* policy;
  const char* layout;
};

class PoliciesOnATrace : public ::testing::TestWithParam<Case> {};

// Every policy serves a real trace to its end, and twice to the same bits.
TEST_P(PoliciesOnATrace, RerunsAreBitEqual) {
  auto trace = ReadTrace(
      BRAID_SOURCE_DIR "/bench/traces/arxiv_mooncake_trace_first1000.jsonl.gz",
      {.max_requests = 300});
  ASSERT_TRUE(trace.ok()) << trace.status();
  auto cluster =
      ReadCluster(BRAID_SOURCE_DIR "/bench/clusters/h200x16_qwen3_32b.json");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_TRUE(SetLayout(GetParam().layout, *cluster).ok());
  cluster->block_tokens = 512;
  const ReplayLabels labels{.policy = *ParsePolicy(GetParam().policy)};
  std::string first;
  for (int i = 0; i < 2; ++i) {
    const ReplayResult result = RunOn(*trace, *cluster, GetParam().policy);
    const ReplayNumbers numbers = Count(result, *trace, *cluster, 300);
    EXPECT_EQ(numbers.served + numbers.refused + numbers.shed, 300u);
    EXPECT_GT(numbers.served, 100u);
    EXPECT_GT(numbers.hit_share, 0);
    const std::string json =
        ReplayJson(result, numbers, *trace, *cluster, labels, false);
    if (i == 0) first = json;
    EXPECT_TRUE(json == first);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, PoliciesOnATrace,
    ::testing::Values(Case{"braid", "auto"}, Case{"braid", "off"},
                      Case{"braid", "6P2D"}, Case{"round-robin", "6P2D"},
                      Case{"least-load", "6P2D"}, Case{"dynamo", "6P2D"},
                      Case{"mooncake", "6P2D"}, Case{"sticky", "6P2D"},
                      Case{"aggregated:router=dynamo", "off"}),
    [](const auto& info) {
      std::string name =
          std::string(info.param.policy) + "_" + info.param.layout;
      std::ranges::replace_if(
          name, [](char c) { return !std::isalnum(c); }, '_');
      return name;
    });

}  // namespace
}  // namespace braid
