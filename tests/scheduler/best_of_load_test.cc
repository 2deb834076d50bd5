// Best-of-n is for nothing: beside requests that ask for it, first tokens come
// no later, and no target is missed for it. Tokens come later within their
// targets, as beside PARSCALE streams.
#include <cmath>
#include <set>

#include "base/rng.h"
#include "tests/scheduler/timed_driver.h"

namespace braid {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// As a small model on a few CPU cores, where reading the weights is most of
// what a step of few rows takes.
constexpr StepTimeModel::Prior kSteps = {.base = 0.008,
                                         .chunk_token = 0.0004,
                                         .chunk_attended = 1e-8,
                                         .decode_row = 0.0008,
                                         .decode_attended = 2e-8,
                                         .stream_row = 0.0008};

struct Load {
  double ttft = 0, tpot = 0;  // means, of those that ask for one answer
  double kept = 0;            // share within both targets, of all
  double complete = 0;        // candidates, mean of those that ask for more
  BestOfStats stats;
};

// Every third request asks for the best of `best_of`; the others are the same
// whatever that is.
Load RunLoad(SplitMode split, bool lend, uint32_t best_of, double per_second) {
  const int devices = split == SplitMode::kOff ? 1 : 2;
  SchedulerConfig config{
      .pool_blocks = {1024},
      .split = split,
      .max_context = 4096,
      .prefill_chunk = 256,
      .lend_cores = lend,
      .classes = {{"fast", seconds(2), milliseconds(100), 256}}};
  for (int i = 0; i < devices; ++i) {
    config.devices.push_back({.id = DeviceId(static_cast<uint32_t>(i)),
                              .role = devices == 1 ? DeviceRole::kBoth
                                      : i == 0     ? DeviceRole::kPrefill
                                                   : DeviceRole::kDecode,
                              .max_rows = 256,
                              .prior = kSteps,
                              .prior_measured = true});
  }
  TimedDriver driver(config);
  Rng rng(1);
  TimePoint next;
  std::set<RequestId> asking;
  for (int i = 0; next < TimePoint(seconds(240)); ++i) {
    driver.Run(next);
    RequestInput input =
        driver.Input(50 + static_cast<uint32_t>(rng.Below(300)),
                     100 + static_cast<uint32_t>(rng.Below(200)));
    if (i % 3 == 0) {
      asking.insert(input.id);
      input.best_of = best_of;
    }
    driver.Offer(std::move(input));
    next += microseconds(
        static_cast<int64_t>(1e6 * -std::log(1 - rng.Uniform()) / per_second));
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
  Load load{.stats = driver.scheduler().best_of_stats()};
  double others = 0;
  for (const auto& [id, client] : driver.clients()) {
    EXPECT_FALSE(client.refused.has_value());
    const double ttft = ToSeconds(client.first_token - client.arrival);
    const double tpot =
        ToSeconds(client.finished - client.first_token) / (client.output - 1);
    load.kept += ttft <= 2 && tpot <= 0.1;
    if (asking.contains(id)) {
      load.complete += 1 + client.candidates;
      continue;
    }
    ++others;
    load.ttft += ttft;
    load.tpot += tpot;
  }
  load.ttft /= others;
  load.tpot /= others;
  load.kept /= static_cast<double>(driver.clients().size());
  load.complete /= static_cast<double>(asking.size());
  for (uint32_t i = 0; i < driver.scheduler().pool_count(); ++i) {
    const BlockPool& pool = driver.scheduler().pool(PoolId(i));
    EXPECT_EQ(pool.count(BlockState::kFree) + pool.count(BlockState::kCached),
              pool.capacity());
  }
  return load;
}

struct Setting {
  SplitMode split;
  bool lend;
};
class BestOfLoadTest : public testing::TestWithParam<Setting> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, BestOfLoadTest,
                         testing::Values(Setting{SplitMode::kOff, false},
                                         Setting{SplitMode::kOn, false},
                                         Setting{SplitMode::kAuto, false},
                                         Setting{SplitMode::kAuto, true}));

TEST_P(BestOfLoadTest, DelaysNobody) {
  const auto [split, lend] = GetParam();
  for (const double per_second : {0.1, 0.3, 1.0, 2.0}) {
    const Load one = RunLoad(split, lend, 1, per_second);
    const Load best = RunLoad(split, lend, 4, per_second);
    SCOPED_TRACE(testing::Message()
                 << per_second << " a second: TTFT " << one.ttft << " and "
                 << best.ttft << ", TPOT " << one.tpot << " and " << best.tpot
                 << ", kept " << one.kept << " and " << best.kept
                 << ", complete " << best.complete << ", started "
                 << best.stats.started << ", rows offered "
                 << best.stats.offered << ", filled " << best.stats.filled
                 << ", caught up " << best.stats.caught_up);
    // Who comes while candidates are alone on the node waits for the end of
    // their step where it has its cores. Under kAuto longer answers also move
    // prompts between devices, at the highest load.
    EXPECT_LE(best.ttft, (split == SplitMode::kAuto ? 1.03 : 1.02) * one.ttft);
    EXPECT_GE(best.kept, one.kept - 0.005);
    EXPECT_EQ(one.complete, 1.0);
    // At the highest load first tokens can bear no more than a start.
    EXPECT_GT(best.stats.started, 0u);
    EXPECT_GT(best.stats.filled, 0u);
    EXPECT_LE(best.stats.filled, best.stats.offered);
    if (per_second < 2) {
      EXPECT_GT(best.complete, per_second < 0.2 ? 2.0 : 1.0);
    }
  }
}

}  // namespace
}  // namespace braid
