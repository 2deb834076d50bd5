// What the pieces of scheduling cost that are called for every request or step.
//
// Placement decisions per second at some numbers of devices: filter, score and
// pick, with every prediction made anew. Half of the devices are meant for
// prompts, all are busy with random work, each has a pool of its own; a prompt
// of 8k tokens is known to a varying part everywhere.
#include <vector>

#include "base/rng.h"
#include "benchmark/benchmark.h"
#include "scheduler/admission_queue.h"
#include "scheduler/placement_policy.h"

namespace braid {
namespace {

struct Fleet {
  std::vector<StepTimeModel> models;
  std::vector<std::vector<DeviceView>> moments;  // to choose at
  PlacementQuery query;
};

// An H100 with an 8B model, about: performance.md.
StepTimeModel::Prior GpuTimes() {
  return {.base = 0.006,
          .chunk_token = 2.7e-5,
          .chunk_attended = 9e-10,
          .decode_row = 2e-5,
          .decode_attended = 5e-8};
}

Fleet MakeFleet(int devices, SplitMode split) {
  constexpr int kMoments = 64;
  Fleet fleet;
  fleet.models.assign(devices, StepTimeModel(GpuTimes()));
  Rng rng(1);
  for (int moment = 0; moment < kMoments; ++moment) {
    std::vector<DeviceView> views;
    for (int i = 0; i < devices; ++i) {
      const bool prefill = i < devices / 2;
      DeviceView view{
          .id = DeviceId(static_cast<uint32_t>(i)),
          .pool = PoolId(static_cast<uint32_t>(i)),
          .role = prefill ? DeviceRole::kPrefill : DeviceRole::kDecode,
          .cached_tokens = static_cast<uint32_t>(rng.Below(512)) * 16,
          .time = &fleet.models[i]};
      if (prefill || rng.Below(8) == 0) {
        view.prefill_wait = 0.5 * rng.Uniform();
        view.prefilling = true;
      }
      if (!prefill || rng.Below(8) == 0) {
        view.decode_rows = static_cast<uint32_t>(rng.Below(64));
        view.decode_attended = view.decode_rows * rng.Below(8000);
        view.tightest_tpot = view.decode_rows > 0 ? 0.025 : 0;
        view.decoding = view.decode_rows > 0;
        view.credit_wait = rng.Below(16) == 0 ? rng.Uniform() : 0;
      }
      views.push_back(view);
    }
    fleet.moments.push_back(std::move(views));
  }
  fleet.query = {.prompt_tokens = 8192,
                 .expected_output = 350,
                 .blocks = 540,
                 .ttft_target = 2,
                 .tpot_target = 0.025,
                 .split = split,
                 .max_chunk = 2048,
                 .transfer = [](PoolId, PoolId, uint32_t tokens) {
                   return 2e-5 + tokens * 131072.0 / 36e9;
                 }};
  return fleet;
}

void BM_Choose(benchmark::State& state, SplitMode split) {
  Fleet fleet = MakeFleet(static_cast<int>(state.range(0)), split);
  size_t moment = 0;
  for (auto _ : state) {
    fleet.query.devices = fleet.moments[moment++ % fleet.moments.size()];
    benchmark::DoNotOptimize(ChoosePlacement(fleet.query));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(BM_Choose, Auto, SplitMode::kAuto)
    ->Arg(2)
    ->Arg(8)
    ->Arg(64)
    ->Arg(512);
BENCHMARK_CAPTURE(BM_Choose, On, SplitMode::kOn)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(BM_Choose, Off, SplitMode::kOff)->Arg(8)->Arg(64);

void BM_Observe(benchmark::State& state) {
  StepTimeModel model;
  Rng rng(1);
  std::vector<StepShape> shapes(256);
  for (StepShape& shape : shapes) {
    for (uint64_t rows = rng.Below(32); rows > 0; --rows) {
      shape.AddDecodeRow(rng.Below(4000));
    }
    if (rng.Below(2) == 0) shape.AddChunk(1000, 1 + rng.Below(512));
  }
  size_t i = 0;
  for (auto _ : state) {
    const StepShape& shape = shapes[i++ % shapes.size()];
    model.Observe(shape, 0.003 + shape.chunk_tokens * 1e-4);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Observe);

void BM_LargestChunk(benchmark::State& state) {
  const StepTimeModel model(GpuTimes());
  StepShape rows;
  for (int i = 0; i < 32; ++i) rows.AddDecodeRow(4000);
  uint32_t before = 0;
  for (auto _ : state) {
    before = (before + 97) % 8192;
    benchmark::DoNotOptimize(model.LargestChunk(rows, before, 2048, 0.025));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_LargestChunk);

// One arrives, the first is served, with `range` others waiting, of as many
// tenants as it says.
void BM_Queue(benchmark::State& state) {
  AdmissionQueue queue({{.name = "a",
                         .ttft = std::chrono::seconds(2),
                         .max_queued = 1'000'000}});
  Rng rng(1);
  uint64_t id = 0;
  const auto push = [&] {
    QueueKey key;
    ++id;
    benchmark::DoNotOptimize(
        queue.Push({.id = RequestId(id),
                    .tenant = rng.Below(static_cast<uint64_t>(state.range(1))),
                    .arrival = TimePoint(std::chrono::milliseconds(id)),
                    .seconds = 0.1 * rng.Uniform()},
                   &key));
  };
  for (int64_t i = 0; i < state.range(0); ++i) push();
  for (auto _ : state) {
    push();
    queue.Remove(*queue.begin(), true);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Queue)->Args({64, 1})->Args({64, 8})->Args({4096, 1})->Args({4096,
                                                                          100});

}  // namespace
}  // namespace braid
