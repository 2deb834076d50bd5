// A turn in which requests decode, with a queue whose head waits for blocks or
// with PARSCALE streams that come and go, allocates nothing: not in the
// housekeeping, the plans, Apply nor Commit.
#include <atomic>
#include <cstdlib>
#include <new>

#include "gtest/gtest.h"
#include "scheduler/scheduler.h"

namespace {
std::atomic<uint64_t> allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void* operator new(size_t size, std::align_val_t align) {
  ++allocations;
  const auto n = static_cast<size_t>(align);
  if (void* memory = std::aligned_alloc(n, (size + n - 1) / n * n)) {
    return memory;
  }
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace braid {
namespace {

constexpr uint32_t kRunning = 64, kPrompt = 32, kOutput = 400;

void CheckSteadyTurns(bool prefix_cache) {
  const uint32_t each = (kPrompt + kOutput + 15) / 16;
  SchedulerConfig config{
      .pool_blocks = {each * kRunning + each / 2},
      .split = SplitMode::kOn,
      .max_context = 1024,
      .prefill_chunk = 4096,
      .prefix_cache = prefix_cache,
      .classes = {{"any", std::chrono::hours(1), std::chrono::hours(1), 1024}}};
  for (uint32_t i = 0; i < 2; ++i) {
    config.devices.push_back(
        {.id = DeviceId(i),
         .role = i == 0 ? DeviceRole::kPrefill : DeviceRole::kDecode,
         .max_rows = 8192});
  }
  Scheduler scheduler(config);
  TimePoint now;
  std::vector<Refusal> refused;
  std::vector<std::optional<TokenId>> drawn;
  StepPlan plans[2];
  const auto turn = [&] {
    now += std::chrono::milliseconds(5);
    scheduler.TakeRefused(now, refused);
    for (uint32_t i : {1u, 0u}) {
      if (!scheduler.available(DeviceId(i))) continue;
      StepPlan& plan = plans[i];
      plan = scheduler.Plan(DeviceId(i), now, std::move(plan));
      if (!plan.rows.empty()) scheduler.Apply(plan, now);
    }
    for (StepPlan& plan : plans) {
      if (plan.rows.empty()) continue;
      drawn.clear();
      for (const PlannedRows& rows : plan.rows) {
        drawn.push_back(rows.draws ? std::optional<TokenId>(7) : std::nullopt);
      }
      scheduler.Commit(plan, drawn, 0.005, now);
      for (const PlannedRows& rows : plan.rows) {
        if (scheduler.Find(rows.request)->state ==
            RequestState::kTransferring) {
          scheduler.CompleteTransfer(rows.request, now);
        }
      }
      plan.rows.clear();
    }
  };
  for (uint64_t id = 1; id <= kRunning + 16; ++id) {
    RequestInput input{.id = RequestId(id), .max_output = kOutput};
    for (uint32_t i = 0; i < kPrompt; ++i) {
      input.prompt.push_back(static_cast<TokenId>(id * 31 + i));
    }
    ASSERT_FALSE(scheduler.Offer(std::move(input), now).has_value());
  }
  for (int i = 0; i < 40; ++i) turn();
  ASSERT_EQ(scheduler.count(RequestState::kDecoding), kRunning);
  ASSERT_EQ(scheduler.count(RequestState::kWaiting), 16u);
  const uint64_t before = allocations;
  for (int i = 0; i < 200; ++i) turn();
  EXPECT_EQ(allocations - before, 0u);
}

TEST(AllocationTest, ASteadyTurnAllocatesNothing) { CheckSteadyTurns(false); }

// Each row publishes a block in sixteen turns.
TEST(AllocationTest, NorDoesOneWithThePrefixCache) { CheckSteadyTurns(true); }

// Eight requests with up to four streams each, in steps that have room for some
// of these, now more and now fewer.
TEST(AllocationTest, AStepWithStreamsAllocatesNothing) {
  SchedulerConfig config{
      .pool_blocks = {4096},
      .split = SplitMode::kOff,
      .max_context = 1024,
      .prefill_chunk = 4096,
      .prefix_cache = false,
      .classes = {{"any", std::chrono::hours(1), std::chrono::milliseconds(20),
                   1024}},
      .stream_sets = {{.streams = 4, .gain = {0, 0.03, 0.045, 0.052}}}};
  config.devices.push_back({.max_rows = 8192, .prior_measured = true});
  Scheduler scheduler(config);
  TimePoint now;
  std::vector<Refusal> refused;
  std::vector<std::optional<TokenId>> drawn;
  StepPlan plan;
  int turns = 0;
  const auto turn = [&] {
    // Every fifth step comes so late that there is no time left for streams.
    now += std::chrono::milliseconds(++turns % 5 == 0 ? 75 : 5);
    scheduler.TakeRefused(now, refused);
    plan = scheduler.Plan(DeviceId(0), now, std::move(plan));
    scheduler.Apply(plan, now);
    drawn.clear();
    StepShape shape;
    for (const PlannedRows& rows : plan.rows) {
      drawn.push_back(rows.draws ? std::optional<TokenId>(7) : std::nullopt);
      AddRows(rows, shape);
    }
    scheduler.Commit(
        plan, drawn,
        0.004 + 0.0003 * shape.decode_rows + 0.0001 * shape.stream_rows, now);
  };
  for (uint64_t id = 1; id <= 8; ++id) {
    RequestInput input{.id = RequestId(id), .max_output = 900};
    input.prompt.assign(kPrompt, static_cast<TokenId>(id));
    input.streams = {.mode = StreamMode::kAuto, .max = 4};
    ASSERT_FALSE(scheduler.Offer(std::move(input), now).has_value());
  }
  for (int i = 0; i < 400; ++i) turn();
  const StreamStats first = scheduler.stream_stats();
  const uint64_t before = allocations;
  for (int i = 0; i < 200; ++i) turn();
  EXPECT_EQ(allocations - before, 0u);
  const StreamStats last = scheduler.stream_stats();
  EXPECT_GT(last.filled, first.filled + 800);
  EXPECT_GT(last.shed, first.shed + 10);
  EXPECT_GT(last.caught_up, first.caught_up + 10);
}

}  // namespace
}  // namespace braid
