#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "bench/load/summary.h"
#include "model/json_value.h"

namespace braid::load {
namespace {

// A request of `tokens` tokens that came at 1 s and waited `ttft`.
Record Answered(double due, double ttft, double tpot, int64_t tokens) {
  Record r;
  r.due = due;
  r.sent = due + 0.001;
  r.first_token = due + ttft;
  r.last_token = r.ended = r.first_token + tpot * (tokens - 1.0);
  r.outcome = Outcome::kOk;
  r.status = 200;
  r.prompt_asked = 100;
  r.output_asked = static_cast<uint32_t>(tokens);
  r.output_tokens = tokens;
  return r;
}

double Number(const std::string& json, const char* key,
              const char* inner = nullptr) {
  const absl::StatusOr<JsonValue> parsed = ParseJson(json);
  EXPECT_TRUE(parsed.ok());
  const JsonValue* value = parsed->Find(key);
  if (value != nullptr && inner != nullptr) value = value->Find(inner);
  if (value == nullptr) return std::nan("");
  if (value->integer() != nullptr) {
    return static_cast<double>(*value->integer());
  }
  return value->real() == nullptr ? std::nan("") : *value->real();
}

TEST(Percentile, IsLinearBetweenRanks) {
  const std::vector<double> v = {1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(Percentile(v, 0), 1);
  EXPECT_DOUBLE_EQ(Percentile(v, 0.5), 3);
  EXPECT_DOUBLE_EQ(Percentile(v, 0.9), 4 * 0.3 + 8 * 0.7);
  EXPECT_DOUBLE_EQ(Percentile(v, 1), 8);
  EXPECT_DOUBLE_EQ(Percentile(std::vector<double>{5}, 0.99), 5);
  EXPECT_TRUE(std::isnan(Percentile({}, 0.5)));
}

TEST(Percentile, OfUniformValuesIsThePercentage) {
  Rng rng(3);
  std::vector<double> v(100000);
  for (double& x : v) x = rng.Uniform();
  std::sort(v.begin(), v.end());
  for (const double p : {0.01, 0.5, 0.9, 0.99}) {
    EXPECT_NEAR(Percentile(v, p), p, 0.01);
  }
}

TEST(Summary, WhatIsRefusedOrFailedMissesItsTargets) {
  std::vector<Record> records = {
      Answered(1, 0.5, 0.05, 11), Answered(2, 1.9, 0.05, 11),
      Answered(3, 2.1, 0.05, 11),  // first token too late
      Answered(4, 0.5, 0.11, 11),  // tokens too slow
      Answered(5, 0.5, 0, 1)};     // one token: no time between tokens
  for (const Outcome outcome :
       {Outcome::kRefused, Outcome::kRefused, Outcome::kFailed,
        Outcome::kUnfinished, Outcome::kNotSent}) {
    Record r;
    r.due = 6;
    if (outcome != Outcome::kNotSent) r.sent = 6;
    r.retry_after = 2;
    r.outcome = outcome;
    records.push_back(r);
  }
  SummaryOptions options;
  options.seconds = 10;
  const std::string json = Summarize(records, options);
  EXPECT_EQ(Number(json, "requests"), 10);
  EXPECT_EQ(Number(json, "ok"), 5);
  EXPECT_EQ(Number(json, "met"), 3);
  EXPECT_DOUBLE_EQ(Number(json, "attainment"), 0.3);
  EXPECT_DOUBLE_EQ(Number(json, "attainment_of_admitted"), 3.0 / 7);
  EXPECT_DOUBLE_EQ(Number(json, "refused_share"), 0.2);
  EXPECT_DOUBLE_EQ(Number(json, "goodput_per_second"), 0.3);
  EXPECT_DOUBLE_EQ(Number(json, "output_tokens_per_second"), 4.5);
  EXPECT_DOUBLE_EQ(Number(json, "prompt_tokens_per_second"), 50);
  EXPECT_EQ(Number(json, "retry_after_s", "n"), 2);
  EXPECT_NEAR(Number(json, "tpot_ms", "p100"), 110, 1e-6);
  EXPECT_EQ(Number(json, "tpot_ms", "n"), 4);
  EXPECT_NEAR(Number(json, "lateness_ms", "p50"), 1, 1e-6);
}

TEST(Summary, WarmUpAndWhatEndsAfterArrivalsAreLeftOut) {
  const std::vector<Record> records = {
      Answered(1, 0.5, 0.1, 11),    // ends at 2.5, in the warm-up
      Answered(2, 0.5, 0.1, 11),    // due in the warm-up, ends after
      Answered(5, 0.5, 0.1, 11),    //
      Answered(9.5, 0.5, 0.1, 11),  // ends after the last arrival
  };
  SummaryOptions options;
  options.seconds = 10;
  options.warm_up = 3;
  const std::string json = Summarize(records, options);
  EXPECT_EQ(Number(json, "requests"), 2);
  EXPECT_DOUBLE_EQ(Number(json, "ended_per_second"), 2.0 / 7);
  EXPECT_DOUBLE_EQ(Number(json, "offered_per_second"), 2.0 / 7);
}

TEST(Record, LinesAreJson) {
  Record record = Answered(1, 0.5, 0.1, 3);
  record.error = "said \"no\"\n";
  record.token_times = {1.5, 1.6};
  record.timings = {{"queue_ms", 1.25}};
  std::string line;
  AppendJsonLine(record, line);
  ASSERT_TRUE(line.ends_with("}\n"));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_DOUBLE_EQ(Number(line, "timings", "queue_ms"), 1.25);
  EXPECT_DOUBLE_EQ(Number(line, "first_token"), 1.5);
  EXPECT_DOUBLE_EQ(Number(line, "output_tokens"), 3);
}

}  // namespace
}  // namespace braid::load
