// Cost of a turn's decision: Plan, Apply and Commit of a decode step, with a
// queue whose head waits for blocks. Arguments: running and waiting requests.
#include <benchmark/benchmark.h>

#include "scheduler/scheduler.h"

namespace braid {
namespace {

constexpr TimePoint kNow;

constexpr uint32_t kPrompt = 128, kOutput = 2048;

RequestInput Input(uint64_t id) {
  RequestInput input{.id = RequestId(id),
                     .max_output = kOutput,
                     .arrival = TimePoint(Duration(id))};
  for (uint32_t i = 0; i < kPrompt; ++i) {
    input.prompt.push_back(static_cast<TokenId>(id * 31 + i));
  }
  return input;
}

void Commit(Scheduler& scheduler, const StepPlan& plan,
            std::vector<std::optional<TokenId>>& drawn) {
  drawn.clear();
  for (const PlannedRows& rows : plan.rows) {
    drawn.push_back(rows.draws ? std::optional<TokenId>(7) : std::nullopt);
  }
  scheduler.Commit(plan, drawn, 0.005, kNow);
}

void BM_DecodeStep(benchmark::State& state) {
  const auto running = static_cast<uint32_t>(state.range(0));
  const auto waiting = static_cast<uint32_t>(state.range(1));
  const uint32_t each = (kPrompt + kOutput - 1 + 15) / 16;
  const DeviceId prefill(0), decode(1);
  auto make = [&] {
    auto scheduler = std::make_unique<Scheduler>(SchedulerConfig{
        .devices =
            {{.id = prefill, .role = DeviceRole::kPrefill, .max_rows = 8192},
             {.id = decode, .role = DeviceRole::kDecode, .max_rows = 8192}},
        .pool_blocks = {each * running + each / 2},
        .split = static_cast<SplitMode>(state.range(2)),
        .max_context = 8192,
        .prefill_chunk = 8192,
        .max_running = 8192});
    for (uint64_t id = 1; id <= running + waiting; ++id) {
      scheduler->Offer(Input(id), kNow);
    }
    std::vector<std::optional<TokenId>> drawn;
    while (scheduler->count(RequestState::kDecoding) < running) {
      StepPlan plan = scheduler->Plan(prefill, kNow);
      scheduler->Apply(plan, kNow);
      Commit(*scheduler, plan, drawn);
      for (const PlannedRows& rows : plan.rows) {
        if (scheduler->Find(rows.request)->state ==
            RequestState::kTransferring) {
          scheduler->CompleteTransfer(rows.request, kNow);
        }
      }
    }
    return scheduler;
  };
  auto scheduler = make();
  StepPlan plan;
  std::vector<std::optional<TokenId>> drawn;
  uint32_t steps = 0;
  for (auto _ : state) {
    if (++steps == kOutput - 2) {
      state.PauseTiming();
      scheduler = make();
      steps = 0;
      state.ResumeTiming();
    }
    plan = scheduler->Plan(decode, kNow, std::move(plan));
    benchmark::DoNotOptimize(scheduler->Plan(prefill, kNow));
    scheduler->Apply(plan, kNow);
    Commit(*scheduler, plan, drawn);
  }
}
BENCHMARK(BM_DecodeStep)
    ->ArgNames({"running", "waiting", "split"})
    ->ArgsProduct({{256}, {0, 64}, {0, 1}})
    ->Args({1024, 64, 1})
    ->Args({4096, 64, 1})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace braid
