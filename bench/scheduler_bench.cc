// Cost of a turn's decisions: housekeeping, Plan of both devices, and Apply and
// Commit of a decode step, with a queue whose head waits for blocks. Arguments:
// running and waiting requests, split on or off. The median is of repetitions
// (--benchmark_repetitions); bench/callgrind_scheduler.sh counts instructions.
#include <benchmark/benchmark.h>

#include "base/check.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

constexpr uint32_t kPrompt = 128, kOutput = 2048;
constexpr Duration kStep = std::chrono::milliseconds(5);

class World {
 public:
  World(uint32_t running, uint32_t waiting, SplitMode split, bool cache)
      : scheduler_(Config(running, split, cache)),
        prefill_(split == SplitMode::kOff ? 1 : 0) {
    for (uint64_t id = 1; id <= running + waiting; ++id) {
      BRAID_CHECK(!scheduler_.Offer(Input(id), now_));
    }
    while (scheduler_.count(RequestState::kDecoding) < running) {
      for (DeviceId device : {prefill_, decode_}) {
        Turn(device);
        Finish();
      }
    }
    decoded_ = 0;
  }

  // A turn that starts a step of the decode device, and the step's end.
  [[gnu::noinline]] void Step() {
    now_ += kStep;
    scheduler_.TakeRefused(now_, refused_);
    plan_ = scheduler_.Plan(decode_, now_, std::move(plan_));
    if (prefill_ != decode_) {
      other_ = scheduler_.Plan(prefill_, now_, std::move(other_));
    }
    scheduler_.Apply(plan_, now_);
    Finish();
    ++decoded_;
  }
  bool exhausted() const { return decoded_ + 64 > kOutput - kPrompt; }

 private:
  static SchedulerConfig Config(uint32_t running, SplitMode split, bool cache) {
    const uint32_t each = (kPrompt + kOutput - 1 + 15) / 16;
    SchedulerConfig config{
        .pool_blocks = {each * running + each / 2},
        .split = split,
        .max_context = 8192,
        .prefill_chunk = 8192,
        .max_running = 8192,
        .max_queued = 8192,
        .prefix_cache = cache,
        // What is measured is a crowd, not whether it should be let in.
        .classes = {{.name = "any",
                     .ttft = std::chrono::hours(1),
                     .tpot = std::chrono::hours(1),
                     .max_queued = 8192}}};
    if (split != SplitMode::kOff) {
      config.devices.push_back(
          {.id = DeviceId(0), .role = DeviceRole::kPrefill, .max_rows = 16384});
    }
    config.devices.push_back(
        {.id = DeviceId(1), .role = DeviceRole::kDecode, .max_rows = 16384});
    return config;
  }

  static RequestInput Input(uint64_t id) {
    RequestInput input{.id = RequestId(id), .max_output = kOutput};
    for (uint32_t i = 0; i < kPrompt; ++i) {
      input.prompt.push_back(static_cast<TokenId>(id * 31 + i));
    }
    return input;
  }

  void Turn(DeviceId device) {
    now_ += kStep;
    scheduler_.TakeRefused(now_, refused_);
    plan_ = scheduler_.Plan(device, now_, std::move(plan_));
    if (!plan_.empty()) scheduler_.Apply(plan_, now_);
  }

  void Finish() {
    if (plan_.empty()) return;
    drawn_.clear();
    for (const PlannedRows& rows : plan_.rows) {
      drawn_.push_back(rows.draws ? std::optional<TokenId>(7) : std::nullopt);
    }
    scheduler_.Commit(plan_, drawn_, 0.005, now_);
    if (plan_.admissions.empty()) return;
    for (const PlannedRows& rows : plan_.rows) {
      if (scheduler_.Find(rows.request)->state == RequestState::kTransferring) {
        scheduler_.CompleteTransfer(rows.request, now_);
      }
    }
  }

  Scheduler scheduler_;
  const DeviceId prefill_, decode_ = DeviceId(1);
  TimePoint now_;
  StepPlan plan_, other_;
  std::vector<std::optional<TokenId>> drawn_;
  std::vector<Refusal> refused_;
  uint32_t decoded_ = 0;
};

void BM_DecodeStep(benchmark::State& state) {
  const auto make = [&] {
    return std::make_unique<World>(static_cast<uint32_t>(state.range(0)),
                                   static_cast<uint32_t>(state.range(1)),
                                   static_cast<SplitMode>(state.range(2)),
                                   state.range(3) != 0);
  };
  std::unique_ptr<World> world = make();
  for (auto _ : state) {
    if (world->exhausted()) {
      state.PauseTiming();
      world.reset();
      world = make();
      state.ResumeTiming();
    }
    world->Step();
  }
  state.counters["ns_per_row"] =
      benchmark::Counter(static_cast<double>(state.range(0)),
                         benchmark::Counter::kIsIterationInvariantRate |
                             benchmark::Counter::kInvert);
}
BENCHMARK(BM_DecodeStep)
    ->ArgNames({"running", "waiting", "split", "cache"})
    ->ArgsProduct({{256}, {0, 64}, {1, 2}, {1}})
    ->ArgsProduct({{256, 1024, 4096}, {64}, {1}, {0}})
    ->ArgsProduct({{1024, 4096}, {64}, {1}, {1}})
    ->Unit(benchmark::kMicrosecond);
// A known number of turns, for bench/callgrind_scheduler.sh.
BENCHMARK(BM_DecodeStep)
    ->Name("Counted")
    ->ArgNames({"running", "waiting", "split", "cache"})
    ->ArgsProduct({{256, 1024, 4096}, {64}, {1}, {0, 1}})
    ->Iterations(64);

}  // namespace
}  // namespace braid
