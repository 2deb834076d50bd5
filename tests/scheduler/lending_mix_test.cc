// What devices that lend each other their cores make of three mixes of
// requests: the scheduler itself, in virtual time, on steps of two cores as
// they were measured. --split auto next to the static layouts.
// BRAID_SHOW_CELLS=1 prints every cell.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
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
};

struct Outcome {
  double ttft = 0, tpot = 0, whole = 0, goodput = 0;
  int answered = 0;
};

TimedDriver Driver(Layout layout) {
  SchedulerConfig config{
      .pool_blocks = {2200},
      .split = layout == kOn     ? SplitMode::kOn
               : layout == kAuto ? SplitMode::kAuto
                                 : SplitMode::kOff,
      .max_context = 8192,
      .classes = {{"interactive", seconds(2), milliseconds(100), 1024}}};
  const uint32_t devices = layout == kOneDevice ? 1 : 2;
  for (uint32_t i = 0; i < devices; ++i) {
    config.devices.push_back({.id = DeviceId(i),
                              .role = layout == kOneDevice ? DeviceRole::kBoth
                                      : i == 0 ? DeviceRole::kPrefill
                                               : DeviceRole::kDecode,
                              .max_rows = 512});
  }
  std::vector<StepTimeModel> times;
  if (layout != kOneDevice) times.push_back(OneCore());
  times.push_back(BothCores());
  return TimedDriver(config, times, Duration(0), /*noise=*/0.1);
}

uint32_t Between(Rng& rng, uint32_t low, uint32_t high) {
  return low + static_cast<uint32_t>(rng.Below(high - low + 1));
}

Duration Exponential(Rng& rng, double rate) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(-std::log(1 - rng.Uniform()) / rate));
}

Outcome Play(const Mix& mix, Layout layout, double rate, uint64_t seed) {
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
  Outcome outcome;
  for (const auto& [id, client] : driver.clients()) {
    if (client.refused || client.arrival < TimePoint(kWarmUp)) continue;
    const double ttft = ToSeconds(client.first_token - client.arrival);
    const double tpot =
        ToSeconds(client.finished - client.first_token) / (client.output - 1);
    ++outcome.answered;
    outcome.ttft += ttft;
    outcome.tpot += tpot;
    outcome.whole += ToSeconds(client.finished - client.arrival);
    outcome.goodput += ttft <= 2 && tpot <= 0.1;
  }
  outcome.ttft /= outcome.answered;
  outcome.tpot /= outcome.answered;
  outcome.whole /= outcome.answered;
  outcome.goodput /= ToSeconds(kEnd - kWarmUp);
  return outcome;
}

// TTFT and TPOT trade against each other: whoever computes prompts first has
// later tokens. So the time to the last token is compared, and that nobody has
// both better.
TEST(LendingMixTest, AutoIsAsGoodAsTheBestLayout) {
  const bool show = std::getenv("BRAID_SHOW_CELLS") != nullptr;
  for (const Mix& mix : {Mix{"long prompts", 600, 1000, 8, 24, 1.3, 3.3},
                         Mix{"long answers", 16, 64, 150, 250, 4, 9},
                         Mix{"both", 400, 800, 80, 160, 1.1, 2.8}}) {
    for (const bool hot : {false, true}) {
      std::array<Outcome, kLayouts> seen;
      for (int l = 0; l < kLayouts; ++l) {
        seen[l] = Play(mix, static_cast<Layout>(l), hot ? mix.hot : mix.calm,
                       /*seed=*/7 + hot);
        if (!show) continue;
        absl::PrintF("%-13s %-5s %-5s ttft %7.1f tpot %6.2f whole %7.1f ms",
                     mix.name, hot ? "hot" : "calm", kNames[l],
                     1e3 * seen[l].ttft, 1e3 * seen[l].tpot,
                     1e3 * seen[l].whole);
        absl::PrintF("  goodput %.2f/s\n", seen[l].goodput);
      }
      const Outcome& own = seen[kAuto];
      for (int l = 0; l < kAuto; ++l) {
        const std::string cell = std::string(mix.name) + ", " + kNames[l];
        if (hot) {
          EXPECT_GT(own.goodput, 0.97 * seen[l].goodput) << cell;
          continue;
        }
        EXPECT_LT(own.whole, 1.03 * seen[l].whole) << cell;
        EXPECT_LT(std::min(own.ttft / seen[l].ttft, own.tpot / seen[l].tpot),
                  1.03)
            << cell;
      }
    }
  }
}

}  // namespace
}  // namespace braid
