// The text of /metrics, read back line by line.
#include "server/metrics_exporter.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace braid::server {
namespace {

// By name and labels.
std::map<std::string, double> Samples(const std::string& text) {
  std::map<std::string, double> samples;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line.front() == '#') continue;
    const size_t space = line.rfind(' ');
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(line.substr(space + 1), &value)) << line;
    EXPECT_TRUE(
        samples.emplace(std::string(line.substr(0, space)), value).second)
        << "twice: " << line;
  }
  return samples;
}

EngineStats SomeStats() {
  EngineStats stats;
  stats.requests_received = 9;
  stats.requests_refused = 2;
  stats.requests_finished = {1, 2, 3, 0, 1, 5};
  stats.prompt_tokens = 1ull << 40;
  stats.cached_tokens = 16;
  stats.slow_readers = 1;
  stats.kv_blocks = {{5, 1, 2, 0, 8}, {16, 0, 0, 0, 0}};
  stats.prefix.resize(2);
  stats.prefix[0].blocks_inserted = 4;
  stats.devices.push_back({.name = "cpu:0"});
  stats.transport_name = "loopback";
  stats.streams = {.offered = 90,
                   .filled = 80,
                   .caught_up = 30,
                   .catch_ups_landed = 3,
                   .catch_ups_given_up = 1,
                   .shed = 5,
                   .dropped = 2,
                   .gang_rows = 17,
                   .pressures = 3,
                   .shed_steps = 4,
                   .shed_in_flight = 6,
                   .gain = 1.25,
                   .active = 6,
                   .blocks = 7};
  stats.devices[0].stream_tokens = 11;
  stats.best_of = {
      .started = 21, .completed = 14, .dropped = 7, .chosen = 3, .requests = 8};
  stats.candidates = {.offered = 700,
                      .filled = 500,
                      .caught_up = 60,
                      .evicted = 2,
                      .blocks = 9};
  stats.devices.push_back(
      {.name = "cpu:1", .up = false, .times_lost = 3, .retry = {}});
  stats.pairs_avoided = 4;
  stats.avoided.push_back({PoolId(0), PoolId(1), {}, 1});
  stats.classes.resize(2);
  stats.classes[0].name = "interactive";
  stats.classes[0].queued = 7;
  stats.classes[0].preempted = 2;
  stats.classes[0].refused[static_cast<size_t>(RefusalReason::kShed)] = 6;
  DurationHistogram& queue = stats.classes[0].stage_seconds[0];
  queue.Add(std::chrono::microseconds(100));
  queue.Add(std::chrono::milliseconds(3));
  queue.Add(std::chrono::hours(1));
  stats.classes[0].time_to_first_token_error.Add(0.3);
  stats.classes[1].name = "batch";
  return stats;
}

TEST(MetricsExporterTest, KvBlocksSumToTheCapacity) {
  const MetricsExporter exporter({"1", "m"});
  std::map<std::string, double> sums;
  for (const auto& [name, value] : Samples(exporter.Render(SomeStats()))) {
    if (!absl::StartsWith(name, "braid_kv_blocks{")) continue;
    sums[absl::StrContains(name, "pool=\"0\"") ? "0" : "1"] += value;
  }
  EXPECT_EQ(sums, (std::map<std::string, double>{{"0", 16}, {"1", 16}}));
}

TEST(MetricsExporterTest, CountersAreExact) {
  MetricsExporter exporter({"1.2.3", "a \"model\""});
  exporter.CountHttpResponse("/v1/models", 200);
  exporter.CountHttpResponse("/v1/models", 200);
  exporter.CountHttpResponse("other", 404);
  auto samples = Samples(exporter.Render(SomeStats()));
  EXPECT_EQ(samples["braid_prompt_tokens_total"], 1ull << 40);
  EXPECT_EQ(samples["braid_cached_tokens_total"], 16);
  EXPECT_EQ(samples["braid_slow_readers_total"], 1);
  EXPECT_EQ(samples["braid_received_requests_total"], 9);
  EXPECT_EQ(samples["braid_requests_total{outcome=\"refused\"}"], 7);
  EXPECT_EQ(samples["braid_requests_total{outcome=\"cancelled\"}"], 3);
  EXPECT_EQ(samples["braid_prefix_inserted_blocks_total{pool=\"0\"}"], 4);
  EXPECT_EQ(
      samples["braid_http_requests_total{path=\"/v1/models\",code=\"200\"}"],
      2);
  EXPECT_EQ(samples[R"(braid_build_info{version="1.2.3",model="a \"model\""})"],
            1);
}

// Clients choose the names; they cannot make a series of each.
TEST(MetricsExporterTest, NamesOfIgnoredFieldsAreBounded) {
  MetricsExporter exporter({"1", "m"});
  constexpr int kMost = MetricsExporter::kMostFieldNames;
  for (int i = 0; i < kMost + 10; ++i) {
    exporter.CountIgnoredField(absl::StrCat("field_", i));
  }
  exporter.CountIgnoredField("field_0");
  auto samples = Samples(exporter.Render(SomeStats()));
  const auto of = [&](absl::string_view field) {
    return samples[absl::StrCat("braid_ignored_fields_total{field=\"", field,
                                "\"}")];
  };
  EXPECT_EQ(of("field_0"), 2);
  EXPECT_EQ(of(absl::StrCat("field_", kMost - 1)), 1);
  EXPECT_EQ(of("other"), 10);
}

TEST(MetricsExporterTest, ClassesAndOutages) {
  auto samples = Samples(MetricsExporter({"1", "m"}).Render(SomeStats()));
  EXPECT_EQ(samples["braid_queued_requests{class=\"interactive\"}"], 7);
  EXPECT_EQ(samples["braid_queued_requests{class=\"batch\"}"], 0);
  EXPECT_EQ(samples["braid_preemptions_total{class=\"interactive\"}"], 2);
  EXPECT_EQ(
      samples["braid_refusals_total{class=\"interactive\",reason=\"shed\"}"],
      6);
  EXPECT_EQ(samples["braid_time_to_first_token_relative_error_bucket{class="
                    "\"interactive\",le=\"0.3\"}"],
            1);
  EXPECT_EQ(samples["braid_device_up{device=\"cpu:0\"}"], 1);
  EXPECT_EQ(samples["braid_device_up{device=\"cpu:1\"}"], 0);
  EXPECT_EQ(samples["braid_device_losses_total{device=\"cpu:1\"}"], 3);
  EXPECT_EQ(samples["braid_avoided_pairs"], 1);
  EXPECT_EQ(samples["braid_pair_avoidances_total"], 4);
}

TEST(MetricsExporterTest, Parscale) {
  auto samples = Samples(MetricsExporter({"1", "m"}).Render(SomeStats()));
  EXPECT_EQ(samples["braid_parscale_rows_total{outcome=\"offered\"}"], 90);
  EXPECT_EQ(samples["braid_parscale_rows_total{outcome=\"filled\"}"], 80);
  EXPECT_EQ(samples["braid_parscale_rows_total{outcome=\"shed\"}"], 5);
  EXPECT_EQ(samples["braid_parscale_rows_total{outcome=\"caught_up\"}"], 30);
  EXPECT_EQ(samples["braid_parscale_rows_total{outcome=\"gang\"}"], 17);
  EXPECT_EQ(samples["braid_parscale_catch_ups_total{outcome=\"landed\"}"], 3);
  EXPECT_EQ(samples["braid_parscale_catch_ups_total{outcome=\"given_up\"}"], 1);
  EXPECT_EQ(samples["braid_parscale_pressures_total"], 3);
  EXPECT_EQ(samples["braid_parscale_shed_steps_total"], 4);
  EXPECT_EQ(samples["braid_parscale_shed_in_flight_total"], 6);
  EXPECT_EQ(samples["braid_parscale_dropped_streams_total"], 2);
  EXPECT_EQ(samples["braid_parscale_gain_nats_total"], 1.25);
  EXPECT_EQ(samples["braid_parscale_streams"], 6);
  EXPECT_EQ(samples["braid_parscale_kv_blocks"], 7);
  const std::string candidates = "braid_best_of_candidates_total{outcome=";
  EXPECT_EQ(samples[candidates + "\"started\"}"], 21);
  EXPECT_EQ(samples[candidates + "\"completed\"}"], 14);
  EXPECT_EQ(samples[candidates + "\"dropped\"}"], 7);
  EXPECT_EQ(samples["braid_best_of_answers_total{chosen=\"first\"}"], 5);
  EXPECT_EQ(samples["braid_best_of_answers_total{chosen=\"other\"}"], 3);
  const std::string rows_of = "braid_best_of_rows_total{outcome=";
  EXPECT_EQ(samples[rows_of + "\"offered\"}"], 700);
  EXPECT_EQ(samples[rows_of + "\"filled\"}"], 500);
  EXPECT_EQ(samples[rows_of + "\"caught_up\"}"], 60);
  EXPECT_EQ(samples["braid_best_of_evictions_total"], 2);
  EXPECT_EQ(samples["braid_best_of_kv_blocks"], 9);
  EXPECT_EQ(
      samples["braid_step_tokens_total{device=\"cpu:0\",phase=\"stream\"}"],
      11);
}

// A rate of look-ups is no hit rate of requests.
TEST(MetricsExporterTest, TellsNothingOfTheIndexsLookUps) {
  const std::string text = MetricsExporter({"1", "m"}).Render(SomeStats());
  EXPECT_FALSE(absl::StrContains(text, "lookup"));
  EXPECT_FALSE(absl::StrContains(text, "looked_up"));
}

TEST(MetricsExporterTest, HistogramsAreCumulative) {
  auto samples = Samples(MetricsExporter({"1", "m"}).Render(SomeStats()));
  const auto below = [&](const char* bound) {
    const std::string name = absl::StrCat(
        "braid_queue_seconds_bucket{class=\"interactive\",le=\"", bound, "\"}");
    EXPECT_EQ(samples.count(name), 1u) << name;
    return samples[name];
  };
  EXPECT_EQ(below("0.0001"), 1);  // A bound belongs to its bucket.
  EXPECT_EQ(below("0.0025"), 1);
  EXPECT_EQ(below("0.005"), 2);
  EXPECT_EQ(below("120"), 2);
  EXPECT_EQ(below("+Inf"), 3);
  EXPECT_EQ(samples["braid_queue_seconds_count{class=\"interactive\"}"], 3);
  EXPECT_NEAR(samples["braid_queue_seconds_sum{class=\"interactive\"}"],
              3600.0031, 1e-6);
}

}  // namespace
}  // namespace braid::server
