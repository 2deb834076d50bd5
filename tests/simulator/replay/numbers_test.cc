#include <gtest/gtest.h>

#include "simulator/replay/percentiles.h"
#include "simulator/replay/replay_report.h"

namespace braid {
namespace {

RequestOutcome Served(double ttft, double last, uint32_t output) {
  return {.end = RequestEnd::kServed,
          .prompt = 100,
          .cached = 25,
          .output = output,
          .first_token = ttft,
          .last_token = last};
}

TEST(NumbersTest, ByHand) {
  ClusterSpec cluster;
  cluster.workers = {{}, {}};
  cluster.ttft_target = 1;
  cluster.tpot_target = 0.1;
  Trace trace;
  trace.requests.resize(6);
  trace.requests.back().arrival = 10;
  ReplayResult result;
  result.requests = {Served(1.0, 1.5, 6),  // both: 0.1 s per token
                     Served(0.5, 1.5, 6),  // TPOT 0.2
                     Served(1.5, 1.6, 6),  // TTFT
                     Served(0.9, 0.9, 1),  // one token has no TPOT
                     {.end = RequestEnd::kRefused},
                     {.end = RequestEnd::kTooLong}};
  result.requests[0].decode = 1;  // handed over
  result.requests[0].handed_over = 0.25;
  result.end = 4;
  result.bin_seconds = 2;
  result.workers = {{{.prefill = 2, .kv_used = 0.5}, {.decode = 1}},
                    {{.mixed = 1}, {}}};
  const ReplayNumbers numbers = Count(result, trace, cluster, 5);
  EXPECT_EQ(numbers.requests, 6u);
  EXPECT_EQ(numbers.served, 4u);
  EXPECT_EQ(numbers.refused, 1u);
  EXPECT_EQ(numbers.too_long, 1u);
  EXPECT_EQ(numbers.met_ttft, 3u);
  EXPECT_EQ(numbers.met_tpot, 3u);
  EXPECT_EQ(numbers.met, 2u);
  EXPECT_DOUBLE_EQ(numbers.attainment, 2.0 / 6);
  EXPECT_DOUBLE_EQ(numbers.attainment_of_feasible, 2.0 / 5);
  EXPECT_DOUBLE_EQ(numbers.offered_rate, 0.6);
  EXPECT_DOUBLE_EQ(numbers.goodput, 0.2);
  EXPECT_DOUBLE_EQ(numbers.goodput_per_gpu, 0.1);
  EXPECT_DOUBLE_EQ(numbers.hit_share, 0.25);
  EXPECT_EQ(numbers.handed_over, 1u);
  EXPECT_DOUBLE_EQ(numbers.hand_over.p50, 0.25);
  EXPECT_EQ(numbers.ttft.count, 4u);
  EXPECT_DOUBLE_EQ(numbers.ttft.mean, 3.9 / 4);
  EXPECT_DOUBLE_EQ(numbers.ttft.p50, 0.9);  // nearest rank
  EXPECT_DOUBLE_EQ(numbers.ttft.p99, 1.5);
  EXPECT_EQ(numbers.tpot.count, 3u);
  const auto& busy = numbers.roles.at("both");
  EXPECT_EQ(busy.workers, 2u);
  EXPECT_DOUBLE_EQ(busy.prefill, 2.0 / 8);
  EXPECT_DOUBLE_EQ(busy.decode, 1.0 / 8);
  EXPECT_DOUBLE_EQ(busy.mixed, 1.0 / 8);
  EXPECT_DOUBLE_EQ(busy.kv_used, 0.5 * 2 / 8);
}

TEST(TimeHistogramTest, IsAsGoodAsItsBins) {
  TimeHistogram histogram;
  std::vector<double> exact;
  double value = 2e-6;
  for (int i = 0; i < 5000; ++i, value *= 1.003) {
    histogram.Add(value);
    exact.push_back(value);
  }
  const Summary summary = histogram.Summarise();
  const Summary sorted = Summarise(exact);
  EXPECT_NEAR(summary.mean, sorted.mean, sorted.mean * 1e-9);
  EXPECT_EQ(summary.max, sorted.max);
  for (double Summary::*at :
       {&Summary::p50, &Summary::p90, &Summary::p95, &Summary::p99}) {
    EXPECT_GE(summary.*at, sorted.*at * (1 - 1e-12));
    EXPECT_LE(summary.*at, sorted.*at * 1.007);
  }
  // What lies outside its range is counted, not lost.
  histogram.Add(0);
  histogram.Add(1e9);
  EXPECT_EQ(histogram.Summarise().count, 5002u);
  EXPECT_EQ(TimeHistogram().Summarise().count, 0u);
}

TEST(RequestsCsvTest, HasALinePerRequest) {
  ReplayResult result;
  result.requests = {Served(0.25, 1.5, 6), {.end = RequestEnd::kRefused}};
  result.requests[0].decode = 3;
  result.requests[1].arrival = 2;
  EXPECT_EQ(RequestsCsv(result),
            "end,arrival_s,prompt,cached,output,prefill,decode,admitted_s,"
            "first_token_s,handed_over_s,last_token_s\n"
            "served,0.000000000,100,25,6,0,3,0.000000000,0.250000000,"
            "0.000000000,1.500000000\n"
            "refused,2.000000000,0,0,0,0,0,0.000000000,0.000000000,"
            "0.000000000,0.000000000\n");
}

}  // namespace
}  // namespace braid
