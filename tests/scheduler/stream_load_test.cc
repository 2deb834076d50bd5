// Streams under a bursty load, in virtual time, on steps like those of a small
// model on two cores: what they cost first tokens, and which share of the rows
// that idle they fill.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/scheduler/timed_driver.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// On one core. Four streams of a request alone take 1.34 times one.
constexpr StepTimeModel::Prior kOneCore = {.base = 0.0038,
                                           .chunk_token = 0.0005,
                                           .chunk_attended = 4e-7,
                                           .decode_row = 0.0008,
                                           .decode_attended = 4e-7,
                                           .overlap = 0.8,
                                           .stream_row = 0.00052};
constexpr double kLentSpeed = 0.9;
// As a live server has learned them, on one core and on two: what a stream
// appends costs as much beside rows as alone.
constexpr StepTimeModel::Prior kLiveOne = {.base = 0.0041,
                                           .chunk_token = 0.00056,
                                           .chunk_attended = 4e-7,
                                           .decode_row = 0.00085,
                                           .decode_attended = 4e-7,
                                           .stream_row = 0.00075};
constexpr StepTimeModel::Prior kLiveTwo = {.base = 0.0023,
                                           .chunk_token = 0.000285,
                                           .chunk_attended = 2e-7,
                                           .decode_row = 0.00045,
                                           .decode_attended = 2e-7,
                                           .stream_row = 0.0004};

StepTimeModel::Prior Faster(StepTimeModel::Prior prior, double factor) {
  for (double* term :
       {&prior.base, &prior.chunk_token, &prior.chunk_attended,
        &prior.decode_row, &prior.decode_attended, &prior.stream_row}) {
    *term /= factor;
  }
  return prior;
}

struct Machine {
  const char* name;
  bool one_device;  // of both cores; else two, that lend each other theirs
  bool sheds;
  SplitMode split;
  double noise = 0;  // of steps: up to that share more or less
  // Steps as a live server has learned them, and lengths as of a trace whose
  // prompts are long and answers short.
  bool live = false;
};

SchedulerConfig Config(const Machine& machine) {
  SchedulerConfig config{
      .pool_blocks = {4096},
      .split = machine.split,
      .max_context = 4096,
      .prefill_chunk = 256,
      .classes = {{"fast", seconds(2), milliseconds(100), 256}},
      .stream_sets = {
          {.streams = 4, .gain = {0, 0.050, 0.062, 0.066}, .fingerprint = 5}}};
  const uint32_t devices = machine.one_device ? 1 : 2;
  for (uint32_t i = 0; i < devices; ++i) {
    config.devices.push_back(
        {.id = DeviceId(i),
         .role = devices == 1 ? DeviceRole::kBoth
                 : i == 0     ? DeviceRole::kPrefill
                              : DeviceRole::kDecode,
         .max_rows = 256,
         .prior = devices == 1 ? Faster(kOneCore, 1 + kLentSpeed) : kOneCore,
         .sheds_in_flight = machine.sheds});
  }
  return config;
}

struct Load {
  std::vector<double> ttft;  // sorted
  double mean_ttft = 0;
  double streams = 0, tpot_p99 = 0, kept = 0;
  StreamStats stats;
  double filled() const {
    return static_cast<double>(stats.filled) /
           static_cast<double>(stats.offered);
  }
};

// Arrivals come in bursts: half of the time four times as many.
Load RunLoad(const Machine& machine, StreamMode mode, double per_second,
             int length) {
  std::vector<StepTimeModel> by_lent;
  if (!machine.one_device) by_lent.emplace_back(kOneCore);
  by_lent.emplace_back(Faster(kOneCore, 1 + kLentSpeed));
  if (machine.live)
    by_lent = {StepTimeModel(kLiveOne), StepTimeModel(kLiveTwo)};
  TimedDriver driver(Config(machine), std::move(by_lent), milliseconds(1),
                     machine.noise);
  Rng rng(3);
  const auto exponential = [&](double mean) {
    return -mean * std::log(1 - rng.Uniform());
  };
  double at = 0;
  while (at < length) {
    driver.Run(TimePoint(std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(at))));
    const auto size = [&](double mean, double least, double most) {
      return static_cast<uint32_t>(std::clamp(exponential(mean), least, most));
    };
    const uint32_t prompt = size(machine.live ? 190 : 200, 20, 1000);
    const uint32_t output = machine.live ? size(71, 4, 400) : size(105, 5, 400);
    RequestInput input = driver.Input(prompt, output);
    input.streams = {.mode = mode, .max = 4};
    driver.Offer(std::move(input));
    const bool burst = std::fmod(at, 10) < 5;
    at += exponential(1 / (per_second * (burst ? 1.6 : 0.4)));
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
  Load load{.stats = driver.scheduler().stream_stats()};
  double tokens = 0, ends = 0;
  std::vector<double> tpots;
  for (const auto& [id, client] : driver.clients()) {
    if (client.refused) continue;
    const double ttft = ToSeconds(client.first_token - client.arrival);
    const double tpot =
        ToSeconds(client.finished - client.first_token) / (client.output - 1);
    load.ttft.push_back(ttft);
    load.mean_ttft += ttft;
    tpots.push_back(tpot);
    load.kept += ttft <= 2 && tpot <= 0.1;
    load.streams += static_cast<double>(client.streams);
    tokens += client.output;
    ++ends;
  }
  std::ranges::sort(load.ttft);
  std::ranges::sort(tpots);
  load.mean_ttft /= ends;
  load.kept /= static_cast<double>(driver.clients().size());
  load.streams /= tokens;
  load.tpot_p99 = tpots[tpots.size() * 99 / 100];
  return load;
}

// Of the middle half: a median that does not leap.
double Middle(const std::vector<double>& sorted) {
  const auto quarter = static_cast<std::ptrdiff_t>(sorted.size() / 4);
  const std::span middle(sorted.begin() + quarter, sorted.end() - quarter);
  return std::accumulate(middle.begin(), middle.end(), 0.0) /
         static_cast<double>(middle.size());
}

struct Case {
  Machine machine;
  double filled;  // at least, of what was offered
  double share;   // of what the machine gets through
};

constexpr int kLength = 600;  // seconds

// BRAID_STREAM_LOADS in the environment: all shares, printed.
class StreamLoadTest : public testing::TestWithParam<Case> {};

TEST_P(StreamLoadTest, CostsFirstTokensNextToNothing) {
  const Machine& machine = GetParam().machine;
  const bool all = std::getenv("BRAID_STREAM_LOADS") != nullptr;
  std::vector<double> shares = {GetParam().share};
  if (all) shares = {0.05, 0.15, 0.3, 0.6};
  for (const double share : shares) {
    const double per_second = (machine.live ? 5.4 : 6) * share;
    const Load off = RunLoad(machine, StreamMode::kOff, per_second, kLength);
    const Load with = RunLoad(machine, StreamMode::kAuto, per_second, kLength);
    const StreamStats& stats = with.stats;
    const std::string figures = absl::StrFormat(
        "%s at %.2f: filled %.3f of %d, caught up %d, streams %.2f, TTFT p50 "
        "%.1f and %.1f ms, mean %.1f and %.1f, TPOT p99 %.1f and %.1f, shed in "
        "%d steps of %d, %d in flight; met %.2f, beside %.2f and %.2f ms",
        machine.name, share, with.filled(), stats.offered, stats.caught_up,
        with.streams, 1e3 * Middle(off.ttft), 1e3 * Middle(with.ttft),
        1e3 * off.mean_ttft, 1e3 * with.mean_ttft, 1e3 * off.tpot_p99,
        1e3 * with.tpot_p99, stats.shed_steps, stats.pressures,
        stats.shed_in_flight, stats.chance_to_meet, 1e3 * off.stats.beside,
        1e3 * stats.beside);
    if (all) std::printf("%s\n", figures.c_str());
    EXPECT_LE(Middle(with.ttft), 1.02 * Middle(off.ttft)) << figures;
    // What steps take by chance is not the same in both.
    EXPECT_LE(with.mean_ttft, (machine.noise > 0 ? 1.05 : 1.02) * off.mean_ttft)
        << figures;
    EXPECT_GE(with.kept, off.kept - 0.005) << figures;
    EXPECT_LE(with.tpot_p99, 0.1) << figures;
    // Who sheds in flight never ends a step with streams that somebody waits
    // behind; and else only the one that runs.
    EXPECT_LE(stats.most_shed_steps, machine.sheds ? 0u : 1u) << figures;
    if (all) continue;
    EXPECT_GE(with.filled(), GetParam().filled) << figures;
  }
}

constexpr Machine kOneDevice = {"one device", true, true, SplitMode::kOff};
constexpr Machine kNeverSheds = {"one device that cannot shed in flight", true,
                                 false, SplitMode::kOff};
constexpr Machine kAuto = {"auto", false, true, SplitMode::kAuto};
// What streams may cost must not be lost in what steps take by chance.
constexpr Machine kNoisy = {"auto, noisy", false, true, SplitMode::kAuto, 0.3};
constexpr Machine kLive = {"live", false, true, SplitMode::kAuto, 0, true};
constexpr Machine kOn = {"on", false, true, SplitMode::kOn};

INSTANTIATE_TEST_SUITE_P(
    All, StreamLoadTest,
    testing::Values(Case{kOneDevice, 0.8, 0.05}, Case{kOneDevice, 0.7, 0.15},
                    Case{kOneDevice, 0.8, 0.3}, Case{kOneDevice, 0.6, 0.6},
                    Case{kNeverSheds, 0.4, 0.15}, Case{kAuto, 0.8, 0.05},
                    Case{kAuto, 0.8, 0.3}, Case{kAuto, 0.6, 0.6},
                    Case{kLive, 0.8, 0.15}, Case{kLive, 0.78, 0.3},
                    Case{kNoisy, 0.7, 0.3}, Case{kOn, 0.6, 0.3}));

// One chat at a time, each answer of 256 tokens.
TEST(StreamsTest, WhoIsAloneHasNearlyAllStreams) {
  double first_tokens = 0;
  for (const StreamMode mode : {StreamMode::kOff, StreamMode::kAuto}) {
    std::vector<StepTimeModel> by_lent = {
        StepTimeModel(kOneCore),
        StepTimeModel(Faster(kOneCore, 1 + kLentSpeed))};
    TimedDriver driver(Config(kAuto), std::move(by_lent));
    constexpr int kRequests = 20;
    double streams = 0, ttft = 0;
    for (int i = 0; i < kRequests; ++i) {
      RequestInput input = driver.Input(150, 256);
      input.streams = {.mode = mode, .max = 4};
      const TimedDriver::Client& client = driver.Offer(std::move(input));
      driver.Run();
      streams += static_cast<double>(client.streams) / (256 * kRequests);
      ttft += ToSeconds(client.first_token - client.arrival);
    }
    if (mode == StreamMode::kOff) {
      EXPECT_NEAR(streams, 1, 1e-9);
      first_tokens = ttft;
    } else {
      EXPECT_GE(streams, 3.3);
      EXPECT_LE(ttft, 1.001 * first_tokens);
    }
  }
}

// A request decodes; another comes in the middle of a step, early or late in
// it. How much longer its first token takes than on an idle machine, at most.
double WorstWait(StreamMode mode) {
  const auto after = [](double seconds) {
    return TimePoint(std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(seconds)));
  };
  const auto first_token = [&](uint32_t output, double at) {
    TimedDriver driver(Config(kAuto),
                       {StepTimeModel(kOneCore),
                        StepTimeModel(Faster(kOneCore, 1 + kLentSpeed))});
    RequestInput input = driver.Input(150, output);
    input.streams = {.mode = mode, .max = 4};
    const TimedDriver::Client& there = driver.Offer(std::move(input));
    driver.Run(after(at));
    const TimedDriver::Client& newcomer = driver.Offer(driver.Input(40, 2));
    driver.Run();
    EXPECT_EQ(there.output, output);
    EXPECT_LE(there.longest_gap, milliseconds(100));
    return ToSeconds(newcomer.first_token - newcomer.arrival);
  };
  const double idle = first_token(256, 10);
  double worst = 0;
  for (int i = 0; i < 40; ++i) {
    worst = std::max(worst, first_token(256, 0.4 + 0.0003 * i) - idle);
  }
  return worst;
}

TEST(StreamsTest, WhoMeetsARowThatOwesWaitsForALayer) {
  EXPECT_GE(WorstWait(StreamMode::kOff), 0.002);
  EXPECT_LE(WorstWait(StreamMode::kAuto), 0.0005);
}

}  // namespace
}  // namespace braid
