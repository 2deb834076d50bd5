// What devices that lend each other their cores make of three mixes of
// requests: the scheduler itself, in virtual time, on steps of two cores as
// they were measured. --split auto next to the static layouts: latencies where
// the TTFT target is so far that nobody is refused, as who refuses has less to
// do and is faster for the others; goodput within targets. BRAID_SHOW_CELLS=1
// prints every cell; BRAID_MIX_LOADS=0.35,0.5,0.65,0.8 plays the mixes at these
// shares of what the best layout carries (slow form).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/rng.h"
#include "tests/scheduler/timed_driver.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A small model on one core and on both, as servers under load have learned it
// (/debug/scheduler).
struct Machine {
  const char* name;
  StepTimeModel one_core, both_cores;
};
const Machine kXeon = {"Xeon",
                       StepTimeModel({.base = 4.4e-3,
                                      .chunk_token = 5.9e-4,
                                      .chunk_attended = 5.3e-7,
                                      .decode_row = 1.0e-3,
                                      .decode_attended = 1.2e-6}),
                       StepTimeModel({.base = 2.2e-3,
                                      .chunk_token = 3.0e-4,
                                      .chunk_attended = 3.5e-7,
                                      .decode_row = 0.5e-3,
                                      .decode_attended = 6e-7})};
const Machine kEpyc = {"EPYC",
                       StepTimeModel({.base = 2.4e-3,
                                      .chunk_token = 7.1e-4,
                                      .chunk_attended = 7.3e-7,
                                      .decode_row = 0.9e-3,
                                      .decode_attended = 1.7e-6}),
                       StepTimeModel({.base = 3.1e-3,
                                      .chunk_token = 4.3e-4,
                                      .chunk_attended = 3.5e-7,
                                      .decode_row = 0.3e-3,
                                      .decode_attended = 6.6e-7})};

// Of first tokens: as a class promises them, and as every layout keeps it at
// two thirds of the capacity; and where prompts may wait for a minute.
constexpr seconds kPromised(2), kRelaxed(10), kPatient(60);

enum Layout { kOn, kOneDevice, kTwoDevices, kAuto, kLayouts };
constexpr const char* kNames[] = {"on", "off", "two", "auto"};

struct Mix {
  const char* name;
  uint32_t prompt_low, prompt_high, output_low, output_high;
  double calm, hot;  // requests per second
  double carried;    // by the best layout
};
const Mix kMixes[] = {{"long prompts", 600, 1000, 8, 24, 1.3, 3.3, 2.5},
                      {"long answers", 16, 64, 150, 250, 4, 9, 7.5},
                      {"both", 400, 800, 80, 160, 1.1, 2.8, 2.5}};

struct Answer {
  double ttft = 0, tpot = 0, whole = 0;  // seconds
};
struct Played {
  Answer mean;
  int refused = 0;
  double goodput = 0;  // requests per second
};

using Outcomes = std::array<Played, kLayouts>;

// What a server measures before its first request.
std::vector<MeasuredStep> Measured(const std::vector<StepTimeModel>& times) {
  std::vector<MeasuredStep> steps;
  for (uint32_t lent = 0; lent < times.size(); ++lent) {
    for (const uint32_t rows : {0, 1, 4, 8}) {
      for (const uint32_t chunk : {0, 16, 96}) {
        StepShape shape{.decode_rows = rows, .decode_attended = rows * 100};
        if (chunk > 0) shape.AddChunk(rows * 40, chunk);
        if (shape == StepShape()) continue;
        steps.push_back({shape, times[lent].Predict(shape), lent});
      }
    }
  }
  return steps;
}

TimedDriver Driver(Layout layout, seconds ttft,
                   const Machine& machine = kXeon) {
  SchedulerConfig config{
      .pool_blocks = {2200},
      .split = layout == kOn     ? SplitMode::kOn
               : layout == kAuto ? SplitMode::kAuto
                                 : SplitMode::kOff,
      .max_context = 8192,
      .classes = {{"interactive", ttft, milliseconds(100), 1024}}};
  const uint32_t devices = layout == kOneDevice ? 1 : 2;
  std::vector<StepTimeModel> times;
  if (layout != kOneDevice) times.push_back(machine.one_core);
  times.push_back(machine.both_cores);
  for (uint32_t i = 0; i < devices; ++i) {
    config.devices.push_back({.id = DeviceId(i),
                              .role = layout == kOneDevice ? DeviceRole::kBoth
                                      : i == 0 ? DeviceRole::kPrefill
                                               : DeviceRole::kDecode,
                              .max_rows = 512,
                              .measured = Measured(times)});
  }
  return TimedDriver(config, times, Duration(0), /*noise=*/0.1);
}

uint32_t Between(Rng& rng, uint32_t low, uint32_t high) {
  return low + static_cast<uint32_t>(rng.Below(high - low + 1));
}

Duration Exponential(Rng& rng, double rate) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(-std::log(1 - rng.Uniform()) / rate));
}

Played Play(const Mix& mix, Layout layout, double rate, uint64_t seed,
            seconds ttft) {
  constexpr auto kWarmUp = seconds(20), kEnd = seconds(170);
  TimedDriver driver = Driver(layout, ttft);
  Rng rng(seed);
  for (TimePoint at; at < TimePoint(kEnd); at += Exponential(rng, rate)) {
    driver.Run(at);
    driver.Offer(driver.Input(Between(rng, mix.prompt_low, mix.prompt_high),
                              Between(rng, mix.output_low, mix.output_high)));
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
  Played played;
  double answered = 0;
  for (const auto& [id, client] : driver.clients()) {
    if (client.arrival < TimePoint(kWarmUp)) continue;
    if (client.refused) {
      ++played.refused;
      continue;
    }
    const Answer answer{
        .ttft = ToSeconds(client.first_token - client.arrival),
        .tpot = ToSeconds(client.finished - client.first_token) /
                (client.output - 1),
        .whole = ToSeconds(client.finished - client.arrival)};
    played.goodput += answer.ttft <= ToSeconds(ttft) && answer.tpot <= 0.1;
    played.mean.ttft += answer.ttft;
    played.mean.tpot += answer.tpot;
    played.mean.whole += answer.whole;
    ++answered;
  }
  EXPECT_GT(answered, 50);
  played.mean.ttft /= answered;
  played.mean.tpot /= answered;
  played.mean.whole /= answered;
  played.goodput /= ToSeconds(kEnd - kWarmUp);
  return played;
}

// Of the same requests.
Outcomes PlayAll(const Mix& mix, double rate, uint64_t seed, seconds ttft) {
  Outcomes seen;
  for (int l = 0; l < kLayouts; ++l) {
    seen[l] = Play(mix, static_cast<Layout>(l), rate, seed, ttft);
  }
  return seen;
}

void Show(const Mix& mix, double rate, const Outcomes& seen) {
  if (std::getenv("BRAID_SHOW_CELLS") == nullptr) return;
  for (int l = 0; l < kLayouts; ++l) {
    absl::PrintF("%-13s %.2f/s %-5s ttft %7.1f tpot %6.2f whole %7.1f ms",
                 mix.name, rate, kNames[l], 1e3 * seen[l].mean.ttft,
                 1e3 * seen[l].mean.tpot, 1e3 * seen[l].mean.whole);
    absl::PrintF("  goodput %.2f/s, %d refused\n", seen[l].goodput,
                 seen[l].refused);
  }
}

// TTFT and TPOT trade against each other, as whoever computes prompts first has
// later tokens: nobody has both better, nor earlier ends.
void ExpectNobodyIsBetter(const Mix& mix, double rate, const Outcomes& seen) {
  const Answer& own = seen[kAuto].mean;
  for (int l = 0; l < kAuto; ++l) {
    const Answer& other = seen[l].mean;
    EXPECT_LT(std::min(own.ttft / other.ttft, own.tpot / other.tpot), 1.03)
        << mix.name << " " << rate << "/s, " << kNames[l];
    EXPECT_LT(own.whole, 1.03 * other.whole)
        << mix.name << " " << rate << "/s, " << kNames[l];
  }
  // Should another refuse some, so much the better for it.
  EXPECT_EQ(seen[kAuto].refused, 0);
}

TEST(LendingMixTest, AutoIsAsGoodAsTheBestLayout) {
  for (const Mix& mix : kMixes) {
    const Outcomes calm = PlayAll(mix, mix.calm, /*seed=*/7, kRelaxed);
    Show(mix, mix.calm, calm);
    ExpectNobodyIsBetter(mix, mix.calm, calm);
    const Outcomes hot = PlayAll(mix, mix.hot, /*seed=*/8, kPromised);
    Show(mix, mix.hot, hot);
    for (int l = 0; l < kAuto; ++l) {
      EXPECT_GT(hot[kAuto].goodput, 0.97 * hot[l].goodput)
          << mix.name << ", " << kNames[l];
    }
  }
}

TEST(LendingMixTest, NobodyIsBetterAtOtherLoads) {
  const char* loads = std::getenv("BRAID_MIX_LOADS");
  for (const Mix& mix : kMixes) {
    for (const auto load : absl::StrSplit(loads ? loads : "0.5", ',')) {
      double share = 0;
      ASSERT_TRUE(absl::SimpleAtod(load, &share));
      for (uint64_t seed = 100; seed < (loads ? 103 : 101); ++seed) {
        const double rate = share * mix.carried;
        const Outcomes seen = PlayAll(mix, rate, seed, kRelaxed);
        Show(mix, rate, seen);
        ExpectNobodyIsBetter(mix, rate, seen);
      }
    }
  }
}

// Eight rows that decode while prompts come at that rate: the greatest mean
// time between the tokens of one, over that on its device's own cores.
double SlowedBeside(const Machine& machine, double rate, seconds ttft) {
  constexpr uint32_t kRows = 8, kTokens = 1000, kPromptTokens = 1500;
  TimedDriver driver = Driver(kAuto, ttft, machine);
  for (uint32_t i = 0; i < kRows; ++i) driver.Offer(driver.Input(32, kTokens));
  const auto decodes = [&] {
    return driver.client(RequestId(kRows)).finished == kNever;
  };
  for (double at = 1; decodes() && at < 60; at += 1 / rate) {
    driver.Run(TimePoint(std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(at))));
    driver.Offer(driver.Input(kPromptTokens, 1));
  }
  driver.Run();
  double slowest = 0;
  for (uint32_t i = 1; i <= kRows; ++i) {
    const auto& client = driver.client(RequestId(i));
    slowest =
        std::max(slowest, ToSeconds(client.finished - client.first_token) /
                              (kTokens - 1));
  }
  return slowest / machine.one_core.Predict(
                       {.decode_rows = kRows,
                        .decode_attended = kRows * (32 + kTokens / 2)});
}

// However many prompts come, where they may wait for the other device's cores;
// and as many as it can have done in time.
TEST(LendingMixTest, RowsBesidePromptsAreNearlyAsFastAsOnTheirOwnCores) {
  for (const Machine& machine : {kXeon, kEpyc}) {
    for (const double rate : {0.3, 0.5, 0.7, 1.0, 1.5, 2.0}) {
      for (const seconds ttft : {kPromised, kPatient}) {
        const double slowed = SlowedBeside(machine, rate, ttft);
        if (std::getenv("BRAID_SHOW_CELLS") != nullptr) {
          absl::PrintF("%s %.1f prompts/s, TTFT %d s: %.3f\n", machine.name,
                       rate, ttft.count(), slowed);
        }
        if (ttft == kPromised && rate > 0.5) continue;
        EXPECT_LT(slowed, 1.3) << machine.name << ", " << rate
                               << " prompts/s, TTFT " << ttft.count() << " s";
      }
    }
  }
}

}  // namespace
}  // namespace braid
