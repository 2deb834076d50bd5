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

// Two devices on one pool, one for each phase.
class Driver {
 public:
  Driver(uint32_t blocks, bool prefix_cache)
      : scheduler_(Config(blocks, prefix_cache)) {}

  static SchedulerConfig Config(uint32_t blocks, bool prefix_cache) {
    SchedulerConfig config{.pool_blocks = {blocks},
                           .split = SplitMode::kOn,
                           .max_context = 1024,
                           .prefill_chunk = 4096,
                           .prefix_cache = prefix_cache,
                           .classes = {{"any", std::chrono::hours(1),
                                        std::chrono::hours(1), 1024}}};
    for (uint32_t i = 0; i < 2; ++i) {
      config.devices.push_back(
          {.id = DeviceId(i),
           .role = i == 0 ? DeviceRole::kPrefill : DeviceRole::kDecode,
           .max_rows = 8192});
    }
    return config;
  }

  void Offer(uint64_t id, uint32_t prompt, uint32_t output) {
    RequestInput input{.id = RequestId(id), .max_output = output};
    for (uint32_t i = 0; i < prompt; ++i) {
      input.prompt.push_back(static_cast<TokenId>(id * 31 + i));
    }
    Offer(std::move(input));
  }
  void Offer(RequestInput input) {
    ASSERT_FALSE(scheduler_.Offer(std::move(input), now_).has_value());
  }

  void Turn() {
    now_ += std::chrono::milliseconds(5);
    scheduler_.TakeRefused(now_, refused_);
    for (uint32_t i : {1u, 0u}) {
      if (!scheduler_.available(DeviceId(i))) continue;
      StepPlan& plan = plans_[i];
      plan = scheduler_.Plan(DeviceId(i), now_, std::move(plan));
      if (!plan.rows.empty()) scheduler_.Apply(plan, now_);
    }
    for (StepPlan& plan : plans_) {
      if (!plan.rows.empty()) Complete(plan);
    }
  }

  const Scheduler& scheduler() const { return scheduler_; }

 private:
  void Complete(StepPlan& plan) {
    drawn_.clear();
    for (const PlannedRows& rows : plan.rows) {
      drawn_.push_back(rows.draws ? std::optional<TokenId>(7) : std::nullopt);
    }
    scheduler_.Commit(plan, drawn_, 0.005, now_);
    for (const PlannedRows& rows : plan.rows) {
      const Request* request = scheduler_.Find(rows.request);
      if (request->output().size() == request->max_output) {
        scheduler_.Finish(rows.request);
      } else if (request->state == RequestState::kTransferring) {
        scheduler_.CompleteTransfer(rows.request, now_);
      }
    }
    plan.rows.clear();
  }

  Scheduler scheduler_;
  TimePoint now_;
  std::vector<Refusal> refused_;
  std::vector<std::optional<TokenId>> drawn_;
  StepPlan plans_[2];
};

uint64_t AllocationsOf(Driver& driver, int turns) {
  const uint64_t before = allocations;
  for (int i = 0; i < turns; ++i) driver.Turn();
  return allocations - before;
}

void CheckSteadyTurns(bool prefix_cache) {
  const uint32_t each = (kPrompt + kOutput + 15) / 16;
  Driver driver(each * kRunning + each / 2, prefix_cache);
  for (uint64_t id = 1; id <= kRunning + 16; ++id) {
    driver.Offer(id, kPrompt, kOutput);
  }
  for (int i = 0; i < 40; ++i) driver.Turn();
  ASSERT_EQ(driver.scheduler().count(RequestState::kDecoding), kRunning);
  ASSERT_EQ(driver.scheduler().count(RequestState::kWaiting), 16u);
  EXPECT_EQ(AllocationsOf(driver, 200), 0u);
}

TEST(AllocationTest, ASteadyTurnAllocatesNothing) { CheckSteadyTurns(false); }

// Each row publishes a block in sixteen turns.
TEST(AllocationTest, NorDoesOneWithThePrefixCache) { CheckSteadyTurns(true); }

// Its cached prefix is looked up in every plan: what it lacks would fit, if its
// prefix could be evicted for it.
TEST(AllocationTest, NorOneWithAHeadThatWaitsInFrontOfItsPrefix) {
  constexpr uint32_t kPrefix = 161;  // tokens; 10 full blocks
  const uint32_t each = (kPrompt + kOutput + 15) / 16;
  Driver driver(each * kRunning + 20, true);
  for (uint64_t id = 1; id <= kRunning; ++id)
    driver.Offer(id, kPrompt, kOutput);
  driver.Offer(1000, kPrefix, 1);
  for (int i = 0; i < 40; ++i) driver.Turn();
  ASSERT_EQ(driver.scheduler().count(RequestState::kDecoding), kRunning);
  RequestInput again{.id = RequestId(1001), .max_output = 239};  // 25 blocks
  for (uint32_t i = 0; i < kPrefix; ++i) {
    again.prompt.push_back(static_cast<TokenId>(1000 * 31 + i));
  }
  driver.Offer(std::move(again));
  for (int i = 0; i < 10; ++i) driver.Turn();
  const Request* waiting = driver.scheduler().Find(RequestId(1001));
  ASSERT_EQ(waiting->state, RequestState::kWaiting);
  ASSERT_EQ(waiting->hinted, 160u);
  EXPECT_EQ(AllocationsOf(driver, 200), 0u);
  EXPECT_EQ(waiting->state, RequestState::kWaiting);
}

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
