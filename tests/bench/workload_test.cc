#include "bench/load/workload.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid::load {
namespace {

LengthSource Length(absl::string_view spec) {
  absl::StatusOr<LengthSource> source = LengthSource::Parse(spec);
  EXPECT_TRUE(source.ok()) << source.status();
  return *source;
}

WorkloadOptions Options(Arrivals arrivals, double rate, double seconds) {
  WorkloadOptions options;
  options.arrivals = arrivals;
  options.rate = rate;
  options.seconds = seconds;
  options.prompt = Length("100");
  options.output = Length("10");
  return options;
}

TEST(Workload, ReadsAzureTraces) {
  const auto rows = ParseAzureTrace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
      "2023-11-16 23:59:59.5000000,374,44\r\n"
      "2023-11-17 00:00:01.2500000,396,109\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_DOUBLE_EQ((*rows)[0].at, 0);
  EXPECT_DOUBLE_EQ((*rows)[1].at, 1.75);
  EXPECT_EQ((*rows)[1].prompt_tokens, 396u);
  EXPECT_EQ((*rows)[1].output_tokens, 109u);
}

TEST(Workload, RefusesTracesOfOtherKinds) {
  const std::string names = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  const std::string row = "2023-11-16 18:15:46.68,374,44\n";
  for (const std::string& text :
       {std::string(), names, names + row, names + row + "x,1,2\n",
        names + row + "2023-11-16 18:15:47.68,374\n",
        names + row + "2023-11-16 18:15:47.68,-1,2\n",
        names + row + "2023-11-16 18:15:40.68,1,2\n"}) {
    EXPECT_FALSE(ParseAzureTrace(text).ok()) << text;
  }
}

TEST(Workload, LengthsAreWhatTheirTextSays) {
  Rng rng(1);
  EXPECT_EQ(Length("512").Draw(7, rng), 512u);
  EXPECT_EQ(Length("trace").Draw(7, rng), 7u);
  EXPECT_EQ(Length("trace*0.25").Draw(40, rng), 10u);
  EXPECT_EQ(Length("trace*0.25").Draw(1, rng), 1u);
  std::vector<int> seen(6);
  for (int i = 0; i < 600; ++i) ++seen[Length("3-5").Draw(0, rng)];
  EXPECT_EQ(seen[3] + seen[4] + seen[5], 600);
  for (const int i : {3, 4, 5}) EXPECT_GT(seen[i], 150);
  for (const char* bad : {"", "0", "-3", "5-3", "1-2-3", "trace*", "trace*0",
                          "trace*-1", "traces", "12x"}) {
    EXPECT_FALSE(LengthSource::Parse(bad).ok()) << bad;
  }
}

// Counts per second of a Poisson process: mean and variance are the rate; gaps
// have the exponential distribution's mean, and its share above the mean.
TEST(Workload, PoissonArrivalsArePoisson) {
  const double rate = 20, seconds = 2000;
  const auto plan =
      PlanWorkload(Options(Arrivals::kPoisson, rate, seconds), {});
  std::vector<double> counts(static_cast<size_t>(seconds));
  size_t above_mean = 0;
  double last = 0;
  for (const PlannedRequest& request : plan) {
    ASSERT_GE(request.at, last);
    ASSERT_LT(request.at, seconds);
    if (request.at - last > 1 / rate) ++above_mean;
    ++counts[static_cast<size_t>(request.at)];
    last = request.at;
  }
  const double n = static_cast<double>(plan.size());
  EXPECT_NEAR(n, rate * seconds, 5 * std::sqrt(rate * seconds));
  EXPECT_NEAR(static_cast<double>(above_mean) / n, std::exp(-1), 0.015);
  double variance = 0;
  for (const double count : counts) variance += (count - rate) * (count - rate);
  EXPECT_NEAR(variance / seconds, rate, 0.15 * rate);
}

TEST(Workload, IsAFunctionOfItsSeed) {
  WorkloadOptions options = Options(Arrivals::kPoisson, 10, 20);
  options.prompt = Length("1-1000");
  const auto one = PlanWorkload(options, {});
  const auto same = PlanWorkload(options, {});
  options.seed = 2;
  const auto other = PlanWorkload(options, {});
  ASSERT_EQ(one.size(), same.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].at, same[i].at);
    EXPECT_EQ(one[i].prompt_tokens, same[i].prompt_tokens);
  }
  EXPECT_NE(one[0].at, other[0].at);
}

TEST(Workload, TraceKeepsItsShapeAtAnyRate) {
  const std::vector<TraceRow> rows = {
      {0, 100, 10}, {1, 200, 20}, {5, 300, 30}, {6, 400, 40}};
  WorkloadOptions options = Options(Arrivals::kTrace, 2, 4);
  options.prompt = Length("trace");
  options.output = Length("trace*0.5");
  options.trace_from = 1;
  const auto plan = PlanWorkload(options, rows);
  // Gaps from row 1: 4, 1, then the mean gap 2 back to row 0, 1, 4, ...
  ASSERT_EQ(plan.size(), 8u);
  const std::vector<double> gaps = {4, 1, 2, 1, 4, 1, 2, 1};
  double at = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_NEAR(plan[i].at, at * 4 / 16, 1e-9);
    EXPECT_EQ(plan[i].prompt_tokens, rows[(1 + i) % 4].prompt_tokens);
    EXPECT_EQ(plan[i].output_tokens, rows[(1 + i) % 4].output_tokens / 2);
    at += gaps[i];
  }
}

TEST(Workload, RequestsFitTheContext) {
  WorkloadOptions options = Options(Arrivals::kUniform, 10, 1);
  options.prompt = Length("5000");
  options.output = Length("600");
  options.max_tokens = 1000;
  const auto plan = PlanWorkload(options, {});
  ASSERT_EQ(plan.size(), 10u);
  EXPECT_DOUBLE_EQ(plan[3].at, 0.3);
  EXPECT_EQ(plan[3].prompt_tokens, 400u);
  EXPECT_EQ(plan[3].output_tokens, 600u);
  options.output = Length("5000");
  EXPECT_EQ(PlanWorkload(options, {})[0].prompt_tokens, 1u);
  EXPECT_EQ(PlanWorkload(options, {})[0].output_tokens, 999u);
}

}  // namespace
}  // namespace braid::load
