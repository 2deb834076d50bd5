// What devices that lend each other their cores make of three mixes of
// requests: the scheduler itself, in virtual time, on steps of two cores as
// they were measured. --split auto next to the static layouts, in means over
// the requests that all of them answered: who refuses more must not look
// faster. BRAID_SHOW_CELLS=1 prints every cell; BRAID_MIX_LOADS=0.35,0.5,0.65
// plays the mixes at these shares of what the best layout carries (slow form;
// from 0.65 on it fails with long prompts, where "on" refuses many).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
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

// A small model on one core and on both, as a server under load has learned it
// (/debug/scheduler).
StepTimeModel OneCore() {
  return StepTimeModel({.base = 4.4e-3,
                        .chunk_token = 5.9e-4,
                        .chunk_attended = 5.3e-7,
                        .decode_row = 1.0e-3,
                        .decode_attended = 1.2e-6});
}
StepTimeModel BothCores() {
  return StepTimeModel({.base = 2.2e-3,
                        .chunk_token = 3.0e-4,
                        .chunk_attended = 3.5e-7,
                        .decode_row = 0.5e-3,
                        .decode_attended = 6e-7});
}

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
  std::map<RequestId, Answer> answers;
  double goodput = 0;  // requests per second
};

struct Outcome {
  double ttft = 0, tpot = 0, whole = 0, goodput = 0;
};
using Outcomes = std::array<Outcome, kLayouts>;

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

TimedDriver Driver(Layout layout) {
  SchedulerConfig config{
      .pool_blocks = {2200},
      .split = layout == kOn     ? SplitMode::kOn
               : layout == kAuto ? SplitMode::kAuto
                                 : SplitMode::kOff,
      .max_context = 8192,
      .classes = {{"interactive", seconds(2), milliseconds(100), 1024}}};
  const uint32_t devices = layout == kOneDevice ? 1 : 2;
  std::vector<StepTimeModel> times;
  if (layout != kOneDevice) times.push_back(OneCore());
  times.push_back(BothCores());
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

Played Play(const Mix& mix, Layout layout, double rate, uint64_t seed) {
  constexpr auto kWarmUp = seconds(20), kEnd = seconds(170);
  TimedDriver driver = Driver(layout);
  Rng rng(seed);
  for (TimePoint at; at < TimePoint(kEnd); at += Exponential(rng, rate)) {
    driver.Run(at);
    driver.Offer(driver.Input(Between(rng, mix.prompt_low, mix.prompt_high),
                              Between(rng, mix.output_low, mix.output_high)));
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
  Played played;
  for (const auto& [id, client] : driver.clients()) {
    if (client.refused || client.arrival < TimePoint(kWarmUp)) continue;
    const Answer answer{
        .ttft = ToSeconds(client.first_token - client.arrival),
        .tpot = ToSeconds(client.finished - client.first_token) /
                (client.output - 1),
        .whole = ToSeconds(client.finished - client.arrival)};
    played.goodput += answer.ttft <= 2 && answer.tpot <= 0.1;
    played.answers.emplace(id, answer);
  }
  played.goodput /= ToSeconds(kEnd - kWarmUp);
  return played;
}

// Of the same requests.
Outcomes PlayAll(const Mix& mix, double rate, uint64_t seed) {
  std::array<Played, kLayouts> played;
  for (int l = 0; l < kLayouts; ++l) {
    played[l] = Play(mix, static_cast<Layout>(l), rate, seed);
  }
  Outcomes seen;
  double compared = 0;
  for (const auto& [id, answer] : played[kAuto].answers) {
    if (!std::ranges::all_of(played, [id = id](const Played& one) {
          return one.answers.contains(id);
        })) {
      continue;
    }
    ++compared;
    for (int l = 0; l < kLayouts; ++l) {
      const Answer& one = played[l].answers.at(id);
      seen[l].ttft += one.ttft;
      seen[l].tpot += one.tpot;
      seen[l].whole += one.whole;
    }
  }
  EXPECT_GT(compared, 50);
  for (int l = 0; l < kLayouts; ++l) {
    seen[l].ttft /= compared;
    seen[l].tpot /= compared;
    seen[l].whole /= compared;
    seen[l].goodput = played[l].goodput;
  }
  return seen;
}

void Show(const Mix& mix, double rate, const Outcomes& seen) {
  if (std::getenv("BRAID_SHOW_CELLS") == nullptr) return;
  for (int l = 0; l < kLayouts; ++l) {
    absl::PrintF("%-13s %.2f/s %-5s ttft %7.1f tpot %6.2f whole %7.1f ms",
                 mix.name, rate, kNames[l], 1e3 * seen[l].ttft,
                 1e3 * seen[l].tpot, 1e3 * seen[l].whole);
    absl::PrintF("  goodput %.2f/s\n", seen[l].goodput);
  }
}

// TTFT and TPOT trade against each other: whoever computes prompts first has
// later tokens.
void ExpectNobodyHasBothBetter(const Mix& mix, double rate,
                               const Outcomes& seen) {
  const Outcome& own = seen[kAuto];
  for (int l = 0; l < kAuto; ++l) {
    EXPECT_LT(std::min(own.ttft / seen[l].ttft, own.tpot / seen[l].tpot), 1.03)
        << mix.name << " " << rate << "/s, " << kNames[l];
  }
}

TEST(LendingMixTest, AutoIsAsGoodAsTheBestLayout) {
  for (const Mix& mix : kMixes) {
    const Outcomes calm = PlayAll(mix, mix.calm, /*seed=*/7);
    Show(mix, mix.calm, calm);
    ExpectNobodyHasBothBetter(mix, mix.calm, calm);
    for (int l = 0; l < kAuto; ++l) {
      EXPECT_LT(calm[kAuto].whole, 1.03 * calm[l].whole)
          << mix.name << ", " << kNames[l];
    }
    const Outcomes hot = PlayAll(mix, mix.hot, /*seed=*/8);
    Show(mix, mix.hot, hot);
    for (int l = 0; l < kAuto; ++l) {
      EXPECT_GT(hot[kAuto].goodput, 0.97 * hot[l].goodput)
          << mix.name << ", " << kNames[l];
    }
  }
}

TEST(LendingMixTest, NobodyHasBothBetterAtOtherLoads) {
  const char* loads = std::getenv("BRAID_MIX_LOADS");
  for (const Mix& mix : kMixes) {
    for (const auto load : absl::StrSplit(loads ? loads : "0.5", ',')) {
      double share = 0;
      ASSERT_TRUE(absl::SimpleAtod(load, &share));
      for (uint64_t seed = 100; seed < (loads ? 103 : 101); ++seed) {
        const double rate = share * mix.carried;
        const Outcomes seen = PlayAll(mix, rate, seed);
        Show(mix, rate, seen);
        ExpectNobodyHasBothBetter(mix, rate, seen);
      }
    }
  }
}

// Rows that decode while prompts come at that rate: mean seconds between the
// tokens of each.
std::vector<double> PlayBeside(uint32_t rows, double rate) {
  constexpr uint32_t kTokens = 1000, kPromptTokens = 1500;
  TimedDriver driver = Driver(kAuto);
  for (uint32_t i = 0; i < rows; ++i) driver.Offer(driver.Input(32, kTokens));
  const auto decodes = [&] {
    return driver.client(RequestId(rows)).finished == kNever;
  };
  for (double at = 1; decodes() && at < 60; at += 1 / rate) {
    driver.Run(TimePoint(std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(at))));
    driver.Offer(driver.Input(kPromptTokens, 1));
  }
  driver.Run();
  std::vector<double> between;
  for (uint32_t i = 1; i <= rows; ++i) {
    const auto& client = driver.client(RequestId(i));
    between.push_back(ToSeconds(client.finished - client.first_token) /
                      (kTokens - 1));
  }
  return between;
}

// As long as prompts are no more than the other device's cores and a little of
// theirs can carry.
TEST(LendingMixTest, RowsBesidePromptsAreNearlyAsFastAsOnTheirOwnCores) {
  const double own =
      OneCore().Predict({.decode_rows = 8, .decode_attended = 8 * (32 + 500)});
  for (const double rate : {0.3, 0.5, 0.7}) {
    for (const double seconds : PlayBeside(8, rate)) {
      EXPECT_LT(seconds, 1.3 * own) << rate << " prompts/s";
    }
  }
}

}  // namespace
}  // namespace braid
