#include "engine/step_probe.h"

#include <algorithm>
#include <deque>
#include <latch>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/sampling.h"

namespace braid {
namespace {

// Some decode rows and a chunk, each behind so many others; all but rows in
// blocks, so that no two sequences write the same one.
struct Probe {
  uint32_t rows = 0, rows_after = 0, chunk = 0, chunk_after = 0;
};
constexpr uint32_t kContext = 6;
// The first one writes what the others read, and both touch memory that is
// there from then on: so long, no step takes again.
constexpr Probe kWarmUps[] = {{.chunk = kContext},
                              {.rows = 8, .rows_after = 4}};
// Together they tell every term of the step model apart: prompt tokens, rows,
// and what each attends to.
constexpr Probe kProbes[] = {
    {.chunk = 1},
    {.rows = 1, .rows_after = 4},
    {.rows = 8, .rows_after = 4},
    {.rows = 2, .rows_after = 6},
    {.rows = 4, .rows_after = 32},
    {.chunk = 2, .chunk_after = 30},
    {.rows = 4, .rows_after = 4, .chunk = 2, .chunk_after = 30},
    {.chunk = kContext},
};
// The context's, and those that a probe writes.
constexpr uint32_t kBlocks = kContext + 8;

// A probe as one device runs it.
class ProbeBatch {
 public:
  // `first`: of the arena's blocks, the first of kBlocks that it may use.
  ProbeBatch(const Probe& probe, float temperature,
             std::span<const DeviceId> lent, uint32_t block_tokens,
             uint32_t first)
      : block_tokens_(block_tokens),
        first_(first),
        sampling_{.temperature = temperature} {
    batch_.lent.assign(lent.begin(), lent.end());
    const uint32_t longest =
        std::max(probe.rows_after + 1, probe.chunk_after + probe.chunk);
    tokens_.assign(size_t{longest} * block_tokens, 0);
    batch_.sequences.reserve(probe.rows + 1);
    tables_.reserve(probe.rows + 1);
    for (uint32_t i = 0; i < probe.rows; ++i) {
      Add(probe.rows_after * block_tokens, 1);
      shape_.AddDecodeRow(batch_.sequences.back().start + 1);
    }
    if (probe.chunk > 0) {
      Add(probe.chunk_after * block_tokens, probe.chunk * block_tokens);
      shape_.AddChunk(batch_.sequences.back().start,
                      probe.chunk * block_tokens);
    }
  }

  const ForwardBatch& batch() const { return batch_; }
  const StepShape& shape() const { return shape_; }
  uint32_t rows() const { return shape_.decode_rows + shape_.chunk_tokens; }
  // Tokens of the longest sequence.
  size_t context() const { return tokens_.size(); }

 private:
  // What is before it is read from the context, over and over; it writes blocks
  // of its own. The context itself is where nothing is before.
  void Add(uint32_t start, uint32_t count) {
    std::vector<BlockId>& table = tables_.emplace_back();
    for (uint32_t i = 0; i * block_tokens_ < start + count; ++i) {
      const bool reads = i * block_tokens_ < start;
      const uint32_t block = reads        ? i % kContext
                             : start == 0 ? i
                                          : kContext + written_++;
      table.push_back(BlockId(first_ + block));
    }
    const std::span<const TokenId> tokens(tokens_);
    SequenceRows& sequence = batch_.sequences.emplace_back();
    sequence.tokens = tokens.subspan(start, count);
    sequence.start = start;
    sequence.blocks = table;
    sequence.sampling = &sampling_;
    sequence.context = {.prompt = tokens.first(start + count),
                        .position = start + count};
  }

  const uint32_t block_tokens_, first_;
  const SamplingParams sampling_;
  std::vector<TokenId> tokens_;
  std::vector<std::vector<BlockId>> tables_;
  ForwardBatch batch_;
  StepShape shape_;
  uint32_t written_ = 0;
};

class StepProber {
 public:
  StepProber(EngineConfig& config, Duration budget)
      : config_(config), end_(config.clock->Now() + budget) {}

  // On `devices` at once, each with the cores of `lent`.
  void Run(std::span<EngineDevice> devices, std::span<const DeviceId> lent) {
    // Drawing touches more memory than taking the best does.
    for (const Probe& probe : kWarmUps) Step(probe, 1, devices, lent);
    for (const Probe& probe : kProbes) {
      const std::vector<MeasuredStep> steps = Step(probe, 0, devices, lent);
      for (size_t i = 0; i < steps.size(); ++i) {
        devices[i].measured.push_back(steps[i]);
      }
    }
  }

 private:
  // By device. Empty where there is no time for it, a device has no room, or
  // one has failed: requests will find out why.
  std::vector<MeasuredStep> Step(const Probe& probe, float temperature,
                                 std::span<EngineDevice> devices,
                                 std::span<const DeviceId> lent) {
    if (config_.clock->Now() >= end_) return {};
    std::deque<ProbeBatch> batches;  // They stay where they are.
    std::vector<MeasuredStep> steps;
    for (const EngineDevice& device : devices) {
      const auto index = static_cast<uint32_t>(&device - &config_.devices[0]);
      const ModelRunner& runner = *device.runner;
      ProbeBatch& batch = batches.emplace_back(probe, temperature, lent,
                                               runner.kv_layout().block_tokens,
                                               index * kBlocks);
      if (batch.rows() > runner.max_rows() ||
          batch.context() > config_.max_context) {
        return {};
      }
      steps.push_back(
          {.shape = batch.shape(), .lent = static_cast<uint32_t>(lent.size())});
    }
    std::latch done(static_cast<ptrdiff_t>(devices.size()));
    for (size_t i = 0; i < devices.size(); ++i) {
      const TimePoint launched = config_.clock->Now();
      const auto on_done = [&, i, launched](ForwardResult result) {
        if (result.status.ok()) {
          steps[i].seconds = ToSeconds(config_.clock->Now() - launched);
        }
        done.count_down();
      };
      devices[i].runner->Launch(batches[i].batch(), {.on_done = on_done});
    }
    done.wait();
    const bool all = std::ranges::all_of(
        steps, [](const MeasuredStep& step) { return step.seconds > 0; });
    return all ? steps : std::vector<MeasuredStep>();
  }

  EngineConfig& config_;
  const TimePoint end_;
};

}  // namespace

void MeasureSteps(EngineConfig& config, Duration budget) {
  std::vector<EngineDevice>& devices = config.devices;
  for (const auto& arena : config.arenas) {
    if (arena->capacity() < devices.size() * kBlocks) return;
  }
  StepProber prober(config, budget);
  prober.Run(devices, {});
  if (!config.lend_cores || devices.size() == 1) return;
  for (EngineDevice& device : devices) {
    std::vector<DeviceId> others;
    for (const EngineDevice& other : devices) {
      if (&other != &device) others.push_back(other.id);
    }
    prober.Run(std::span(&device, 1), others);
  }
}

}  // namespace braid
