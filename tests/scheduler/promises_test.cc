// What the scheduler promises over time: nobody starves, nothing deadlocks,
// what it admits keeps its targets, and a Retry-After comes true.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/rng.h"
#include "tests/scheduler/timed_driver.h"

namespace braid {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr StepTimeModel::Prior kSteps = {.base = 0.002,
                                         .chunk_token = 0.0005,
                                         .chunk_attended = 1e-8,
                                         .decode_row = 0.001,
                                         .decode_attended = 1e-7};

SchedulerConfig Config(int devices, SplitMode split, uint32_t blocks = 4096) {
  SchedulerConfig config{
      .pool_blocks = {blocks},
      .split = split,
      .max_context = 4096,
      .prefill_chunk = 256,
      .lend_cores = false,
      .classes = {{"fast", seconds(2), milliseconds(100), 256},
                  {"slow", seconds(60), milliseconds(500), 256}}};
  for (int i = 0; i < devices; ++i) {
    config.devices.push_back(
        {.id = DeviceId(static_cast<uint32_t>(i)),
         .role = i == 0 ? DeviceRole::kPrefill : DeviceRole::kDecode,
         .max_rows = 256,
         .prior = kSteps,
         .prior_measured = true});
  }
  return config;
}

double Ttft(const TimedDriver::Client& client) {
  return ToSeconds(client.first_token - client.arrival);
}

class EverySplitTest : public testing::TestWithParam<SplitMode> {};

// Open loop at twice of what the devices can do: whoever is admitted keeps the
// targets, the others are told at once.
TEST_P(EverySplitTest, AtTwiceTheCapacityTheAdmittedKeepTheirTargets) {
  const int devices = GetParam() == SplitMode::kOff ? 1 : 2;
  TimedDriver driver(Config(devices, GetParam()));
  Rng rng(1);
  TimePoint next;
  while (next < TimePoint(seconds(60))) {
    driver.Run(next);
    driver.Offer(driver.Input(300 + static_cast<uint32_t>(rng.Below(400)),
                              10 + static_cast<uint32_t>(rng.Below(60))));
    next += microseconds(static_cast<int64_t>(
        1e6 * -std::log(1 - rng.Uniform()) / (8 * devices)));
  }
  driver.Run();
  ASSERT_FALSE(driver.busy());
  int admitted = 0, kept = 0, refused = 0;
  for (const auto& [id, client] : driver.clients()) {
    if (client.refused) {
      ++refused;
      continue;
    }
    ++admitted;
    const double tpot = client.output > 1
                            ? ToSeconds(client.finished - client.first_token) /
                                  (client.output - 1)
                            : 0;
    kept += Ttft(client) <= 2 && tpot <= 0.1;
  }
  EXPECT_GT(refused, admitted / 3);
  EXPECT_GT(admitted, 100);
  EXPECT_GE(kept, admitted * 0.95) << admitted << " admitted, " << kept
                                   << " kept, " << refused << " refused";
}

INSTANTIATE_TEST_SUITE_P(Modes, EverySplitTest,
                         testing::Values(SplitMode::kAuto, SplitMode::kOn,
                                         SplitMode::kOff));

// A refused request that comes back a little later than it was told to is
// taken, and one that comes back after half of that time is not.
TEST(PromisesTest, RetryAfterComesTrue) {
  for (const double share : {0.5, 1.2}) {
    TimedDriver driver(Config(1, SplitMode::kOff));
    std::optional<Refusal> refusal;
    while (!refusal) {
      refusal = driver.Offer(driver.Input(400, 5)).refused;
    }
    // One that is far from being taken.
    for (int i = 0; i < 3; ++i) {
      refusal = driver.Offer(driver.Input(1200, 5)).refused;
      ASSERT_TRUE(refusal.has_value());
    }
    EXPECT_EQ(refusal->reason, RefusalReason::kOverload);
    EXPECT_GT(refusal->retry_after, 0.2);
    driver.Run(driver.now() + std::chrono::duration_cast<Duration>(
                                  std::chrono::duration<double>(
                                      refusal->retry_after * share)));
    EXPECT_EQ(driver.Offer(driver.Input(1200, 5)).refused.has_value(),
              share < 1);
    driver.Run();
  }
}

// A guess that is a thousand times too slow refuses nobody on an idle machine,
// nor before there is more than a guess.
TEST(PromisesTest, APessimisticGuessRefusesNobody) {
  SchedulerConfig config = Config(2, SplitMode::kAuto);
  for (SchedulerDevice& device : config.devices) {
    device.prior_measured = false;
    device.prior = {.base = 2, .chunk_token = 0.5, .decode_row = 1};
  }
  TimedDriver driver(config);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(driver.Offer(driver.Input(100, 3)).refused.has_value());
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
}

// A stream of a better class that never ends does not keep a request of a lower
// one beyond its own target.
TEST(PromisesTest, NobodyStarves) {
  SchedulerConfig config = Config(1, SplitMode::kOff, /*blocks=*/64);
  config.classes[1].ttft = seconds(5);
  TimedDriver driver(config);
  for (int i = 0; i < 5; ++i) driver.Offer(driver.Input(200, 100));
  const RequestInput slow = driver.Input(500, 50, 1);
  const RequestId id = slow.id;
  driver.Offer(slow);
  for (int i = 0; i < 300; ++i) {
    driver.Run(driver.now() + milliseconds(100));
    driver.Offer(driver.Input(200, 100));
    driver.Offer(driver.Input(200, 100));
  }
  const TimedDriver::Client& client = driver.client(id);
  EXPECT_FALSE(client.refused.has_value());
  EXPECT_LE(client.preempted, 2u);
  EXPECT_LT(client.first_token, TimePoint(seconds(8)));
  EXPECT_LT(client.finished, TimePoint(seconds(25)));
}

// Pools that hold one request each, and requests that need both of them, in
// either direction: they take turns.
TEST(PromisesTest, NothingDeadlocksOnBlocks) {
  for (const SplitMode split : {SplitMode::kAuto, SplitMode::kOn}) {
    SchedulerConfig config = Config(2, split);
    config.max_context = 128;
    config.pool_blocks = {8, 8};
    config.devices[1].pool = PoolId(1);
    if (split == SplitMode::kAuto) {
      for (SchedulerDevice& device : config.devices) {
        device.role = DeviceRole::kBoth;
      }
    }
    config.classes = {{"patient", seconds(600), seconds(1), 256}};
    TimedDriver driver(config);
    for (uint32_t i = 0; i < 60; ++i) {
      EXPECT_FALSE(
          driver.Offer(driver.Input(60 + i % 50, 17)).refused.has_value());
    }
    driver.Run();
    EXPECT_FALSE(driver.busy()) << ToString(split);
  }
}

// Where prompts beside rows are dear, auto sets a device aside for decode,
// keeps one when that is lost, and takes it back; whoever is admitted is
// served.
TEST(PromisesTest, AutoPlansTheSplit) {
  SchedulerConfig config = Config(4, SplitMode::kAuto);
  config.pool_blocks.assign(4, 1024);
  for (SchedulerDevice& device : config.devices) {
    device.role = DeviceRole::kBoth;
    device.pool = PoolId(device.id.value());
    device.max_rows = 2048;
    device.prior.base = 0.060;
    device.prior.chunk_token = 0.0003;
  }
  config.prefill_chunk = 2048;
  TimedDriver driver(config);
  Rng rng(1);
  TimePoint next;
  const auto offer_until = [&](TimePoint end) {
    for (; next < end; next += milliseconds(150)) {
      driver.Run(next);
      driver.Offer(
          driver.Input(800 + static_cast<uint32_t>(rng.Below(400)), 30));
    }
  };
  const auto seen = [&](const char* reason) {
    const auto decisions = driver.scheduler().decisions().Since(0);
    return std::ranges::any_of(decisions, [&](const Decision& decision) {
      return std::string_view(decision.reason) == reason;
    });
  };
  offer_until(TimePoint(seconds(12)));
  EXPECT_TRUE(seen("planned-decode"));
  EXPECT_TRUE(seen("planned-prefill"));
  EXPECT_TRUE(seen("split-forced"));
  driver.Run();
  EXPECT_FALSE(driver.busy());
  for (const DeviceId lost : {DeviceId(0), DeviceId(1), DeviceId(2)}) {
    driver.scheduler().LoseDevice(lost, /*memory_lost=*/true, driver.now());
  }
  EXPECT_FALSE(driver.Offer(driver.Input(800, 30)).refused.has_value());
  driver.Run();
  EXPECT_FALSE(driver.busy());
  for (const DeviceId lost : {DeviceId(0), DeviceId(1), DeviceId(2)}) {
    driver.scheduler().RestoreDevice(lost, driver.now());
  }
  next = driver.now();
  offer_until(next + seconds(4));
  driver.Run();
  EXPECT_FALSE(driver.busy());
}

// Long prompts beside running answers: no token comes later than its due
// allows, and the prompts get on.
TEST(PromisesTest, PromptsKeepTheTokenDues) {
  TimedDriver driver(Config(1, SplitMode::kOff));
  std::vector<RequestId> answers;
  for (int i = 0; i < 8; ++i) {
    RequestInput input = driver.Input(30, 400);
    answers.push_back(input.id);
    driver.Offer(std::move(input));
  }
  driver.Run(TimePoint(seconds(1)));
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(driver.Offer(driver.Input(1500, 5)).refused.has_value()) << i;
    driver.Run(driver.now() + seconds(4));
  }
  driver.Run();
  for (RequestId id : answers) {
    const TimedDriver::Client& client = driver.client(id);
    EXPECT_EQ(client.output, 400u);
    EXPECT_LE(ToSeconds(client.longest_gap), 0.401);
    EXPECT_LE(ToSeconds(client.finished - client.first_token), 399 * 0.1);
  }
}

// A better class gets the blocks of a lower one when it would miss its target,
// and all of them finish.
TEST(PromisesTest, ThePreemptedFinish) {
  SchedulerConfig config = Config(1, SplitMode::kOff, /*blocks=*/480);
  TimedDriver driver(config);
  for (int i = 0; i < 3; ++i) driver.Offer(driver.Input(400, 2000, 1));
  driver.Run(TimePoint(milliseconds(900)));
  for (int i = 0; i < 6; ++i) {
    EXPECT_FALSE(driver.Offer(driver.Input(800, 40)).refused.has_value()) << i;
    driver.Run(driver.now() + milliseconds(700));
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
  uint32_t preempted = 0;
  for (const auto& [id, client] : driver.clients()) {
    EXPECT_FALSE(client.refused.has_value());
    EXPECT_LE(client.preempted, 2u);
    preempted += client.preempted;
    if (client.output == 40) {
      EXPECT_LE(Ttft(client), 2.0) << id.value();
    }
  }
  EXPECT_GT(preempted, 0u);
}

// A request alone has one shape of step, which cannot tell what a step costs
// from what a row does. Streams look as dear as all of it then, and are not.
TEST(PromisesTest, WhatStreamsCostIsFoundOut) {
  SchedulerConfig config{
      .pool_blocks = {256},
      .split = SplitMode::kOff,
      .max_context = 1024,
      .classes = {{"any", seconds(10), milliseconds(100), 16}},
      .stream_sets = {{.streams = 4, .gain = {0, 0.03, 0.045, 0.052}}}};
  config.devices.push_back(
      {.max_rows = 256, .prior = {.base = 1e-6, .decode_row = 0.005}});
  Scheduler scheduler(config);
  RequestInput input{.id = RequestId(1), .max_output = 500};
  input.prompt.assign(40, 7);
  input.streams = {.mode = StreamMode::kAuto, .max = 4};
  TimePoint now;
  ASSERT_FALSE(scheduler.Offer(std::move(input), now).has_value());
  uint32_t gang = 0;
  for (int turn = 0; turn < 200; ++turn) {
    const StepPlan plan = scheduler.Plan(DeviceId(0), now);
    scheduler.Apply(plan, now);
    std::vector<std::optional<TokenId>> drawn;
    double step = 0.005;
    for (const PlannedRows& rows : plan.rows) {
      drawn.push_back(rows.draws ? std::optional<TokenId>(7) : std::nullopt);
      if (rows.stream > 0) step += 0.0001 * rows.count;
      if (rows.draws) gang = rows.gang;
    }
    now += std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(step));
    scheduler.Commit(plan, drawn, step, now);
  }
  EXPECT_EQ(gang, 4u);
}

// What a run at that load says of its requests.
struct Load {
  double ttft = 0, streams = 0;  // means
  double kept = 0;               // share within both targets
  StreamStats stats;
};

// As a small model on a few CPU cores, where reading the weights is most of
// what a step of few rows takes.
constexpr StepTimeModel::Prior kRoomy = {.base = 0.008,
                                         .chunk_token = 0.0004,
                                         .chunk_attended = 1e-8,
                                         .decode_row = 0.0008,
                                         .decode_attended = 2e-8,
                                         .stream_row = 0.0005};

Load RunLoad(SplitMode split, StreamMode mode, double per_second) {
  SchedulerConfig config = Config(split == SplitMode::kOff ? 1 : 2, split);
  for (SchedulerDevice& device : config.devices) device.prior = kRoomy;
  config.stream_sets = {
      {.streams = 4, .gain = {0, 0.03, 0.045, 0.052}, .fingerprint = 5}};
  TimedDriver driver(config);
  Rng rng(1);
  TimePoint next;
  while (next < TimePoint(seconds(400))) {
    driver.Run(next);
    RequestInput input =
        driver.Input(50 + static_cast<uint32_t>(rng.Below(300)),
                     100 + static_cast<uint32_t>(rng.Below(200)));
    input.streams = {.mode = mode, .max = 4};
    driver.Offer(std::move(input));
    next += microseconds(
        static_cast<int64_t>(1e6 * -std::log(1 - rng.Uniform()) / per_second));
  }
  driver.Run();
  EXPECT_FALSE(driver.busy());
  Load load{.stats = driver.scheduler().stream_stats()};
  double tokens = 0;
  for (const auto& [id, client] : driver.clients()) {
    const double tpot =
        ToSeconds(client.finished - client.first_token) / (client.output - 1);
    EXPECT_FALSE(client.refused.has_value());
    load.ttft += Ttft(client);
    load.kept += Ttft(client) <= 2 && tpot <= 0.1;
    load.streams += static_cast<double>(client.streams);
    tokens += client.output;
  }
  const auto n = static_cast<double>(driver.clients().size());
  load.ttft /= n;
  load.kept /= n;
  load.streams /= tokens;
  return load;
}

// Streams are for nothing: first tokens come no later than without, and no
// target is missed for them.
TEST_P(EverySplitTest, StreamsDelayNobody) {
  for (const double per_second : {0.2, 1.0, 2.0}) {
    const Load off = RunLoad(GetParam(), StreamMode::kOff, per_second);
    const Load with = RunLoad(GetParam(), StreamMode::kAuto, per_second);
    SCOPED_TRACE(testing::Message()
                 << per_second << " a second: TTFT " << off.ttft << " and "
                 << with.ttft << ", streams " << with.streams << ", kept "
                 << off.kept << " and " << with.kept << ", offered "
                 << with.stats.offered << ", filled " << with.stats.filled
                 << ", caught up " << with.stats.caught_up << ", shed "
                 << with.stats.shed);
    EXPECT_LE(with.ttft, 1.02 * off.ttft);
    EXPECT_GE(with.kept, off.kept - 0.005);
    EXPECT_EQ(off.streams, 1.0);
    EXPECT_GT(with.streams, per_second < 0.5 ? 2.0 : 1.0);
    EXPECT_EQ(with.stats.active, 0u);
    EXPECT_EQ(with.stats.blocks, 0u);
  }
}

}  // namespace
}  // namespace braid
