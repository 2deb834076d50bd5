#include "scheduler/placement_cost.h"

#include <algorithm>
#include <cmath>

#include "scheduler/placement_lending.h"
#include "scheduler/service_class.h"

namespace braid {
namespace {

// Seconds by which prompts may make an answer later than its device's own cores
// would: with less, short answers would make every prompt slow.
constexpr double kMayFallBehind = 2.5;

StepShape DecodeShape(const DeviceView& device) {
  return {.decode_rows = device.decode_rows,
          .decode_attended = device.decode_attended};
}

// Of them, what a prompt is computed beside.
StepShape RowsBeside(const DeviceView& device) {
  StepShape rows = DecodeShape(device);
  if (device.aside == 0) return rows;
  rows.decode_rows -= std::min(rows.decode_rows, device.aside);
  rows.decode_attended =
      rows.decode_attended * rows.decode_rows / device.decode_rows;
  return rows;
}

// Prompt tokens of a step beside those rows. The context is taken as half of
// the prompt wherever the cached part ends: a longer prefix must not make
// chunks look smaller.
uint32_t ChunkBeside(const PlacementQuery& query, const StepTimeModel& time,
                     const StepShape& rows, double budget) {
  if (budget <= 0) return query.max_chunk;
  const uint32_t fits =
      time.LargestChunk(rows, query.prompt_tokens / 2, query.max_chunk, budget);
  return std::max({fits, std::min(query.min_chunk, query.max_chunk), 1u});
}

double StepWith(const PlacementQuery& query, const StepTimeModel& time,
                StepShape rows, uint32_t chunk) {
  rows.AddChunk(query.prompt_tokens / 2, chunk);
  return time.Predict(rows);
}

// Share of the device's steps that will carry prompts to come while a request
// decodes there: what the device is meant for says so, where it is free to, and
// else what prompts have taken lately. With less, rows spread over devices that
// prompts would better have for themselves; with more, they crowd where prompts
// are few (tests/scheduler/placement_mix_test.cc).
double ExpectedMix(const PlacementQuery& query, const DeviceView& device) {
  if (query.split != SplitMode::kAuto) return 0;
  // A row anywhere takes the cores that prompts would have.
  if (device.lends()) return query.prompt_share;
  switch (device.role) {
    case DeviceRole::kPrefill:
      return 0.7;
    case DeviceRole::kBoth:
      return query.prompt_share;
    case DeviceRole::kDecode:
      return 0;
  }
  return 0;
}

// Seconds by which a step of `seconds` is beyond what its rows' target allows,
// and was not without the newcomer.
double BeyondTarget(const DeviceView& device, double seconds, double before) {
  if (device.tightest_tpot <= 0) return 0;
  return std::max(0.0, seconds - std::max(device.tightest_tpot, before));
}

// Whether the prompt, `seconds` of work there, should go elsewhere: rows would
// have waited too long for it and for those before it, and another device can
// have it done in time.
bool LeavesRowsAlone(const PlacementQuery& query, const DeviceView& device,
                     const StepShape& prompt, double seconds) {
  return query.split == SplitMode::kAuto && device.decode_rows > 0 &&
         device.rows_behind + device.prefill_wait + seconds > kMayFallBehind &&
         std::ranges::any_of(query.devices, [&](const DeviceView& other) {
           return &other != &device && other.up && other.node == device.node &&
                  other.prefill_wait + other.time->Predict(prompt) <=
                      kSafeTtftShare * query.ttft_target;
         });
}

// What a second counts by which a prompt there makes rows come later.
double StallWeight(const PlacementQuery& query, const PlacementWeights& weights,
                   const DeviceView& device, const StepShape& prompt,
                   double seconds) {
  if (device.lends()) {
    return LeavesRowsAlone(query, device, prompt, seconds) ? weights.harm
                                                           : weights.stall;
  }
  const bool guarded =
      query.split == SplitMode::kAuto && device.role == DeviceRole::kDecode;
  return guarded ? weights.guard : weights.slack;
}

}  // namespace

PrefillCost PrefillCostOf(const PlacementQuery& query,
                          const PlacementWeights& weights,
                          const DeviceView& device) {
  const StepTimeModel& time = StepsOf(query, device);
  // The last token is always computed: its logits are wanted.
  const uint32_t cached =
      std::min(device.cached_tokens, query.prompt_tokens - 1);
  const uint32_t uncached = query.prompt_tokens - cached;
  const StepShape rows = RowsBeside(device);
  uint32_t chunk = std::max(query.max_chunk, 1u);
  if (rows.decode_rows > 0) {
    chunk = ChunkBeside(query, time, rows, device.tightest_tpot);
  }
  const double steps = std::ceil(static_cast<double>(uncached) / chunk);
  const double step_before = time.Predict(rows);
  StepShape prompt;
  prompt.AddChunk(cached, uncached);
  const double prompt_alone =
      std::max(0.0, time.Predict(prompt) - time.Predict(StepShape()));

  PrefillCost cost;
  cost.wait = device.prefill_wait;
  cost.compute = steps * step_before + prompt_alone;
  cost.others = weights.work * cost.compute;
  const double stall =
      StallWeight(query, weights, device, prompt, prompt_alone);
  if (device.lends()) {
    cost.others *= DevicesTaken(query, device);
    if (!device.used()) {
      cost.damage = CallBackSeconds(query, device, cost.compute);
      cost.others += stall * cost.damage;
    }
  }
  if (rows.decode_rows > 0) {
    const double step = StepWith(query, time, rows, std::min(chunk, uncached));
    const double delay = rows.decode_rows * prompt_alone;
    cost.damage += delay;
    const double harm =
        std::min(delay, rows.decode_rows * steps *
                            BeyondTarget(device, step, step_before));
    cost.others += stall * delay + weights.harm * harm;
  }
  if (query.split != SplitMode::kOff && !device.lends()) {
    if (device.role == DeviceRole::kDecode) cost.others += weights.role;
    if (device.decoding && !device.prefilling) cost.others += weights.turn;
  }
  return cost;
}

DecodeCost DecodeCostOf(const PlacementQuery& query,
                        const PlacementWeights& weights,
                        const DeviceView& device) {
  const uint32_t tokens = DecodedTokens(query);
  DecodeCost cost;
  cost.wait = device.credit_wait;
  if (tokens == 0) return cost;
  const StepTimeModel& time = RowStepsOf(query, device);
  const StepShape before = DecodeShape(device);
  StepShape with = before;
  with.AddDecodeRow(query.prompt_tokens + tokens / 2);
  const double step_before = time.Predict(before);
  const double step = time.Predict(with);

  // Share of its steps that carry a chunk of the prompts that queue there,
  // which are taken to be like this one.
  // Where work gathers they are done before its own is.
  const double mixed =
      device.lends() ? 0 : std::min(1.0, device.prefill_wait / (tokens * step));
  double chunk_seconds = 0;
  if (mixed > 0) {
    double budget = query.tpot_target;
    if (device.tightest_tpot > 0) {
      budget = budget > 0 ? std::min(budget, device.tightest_tpot)
                          : device.tightest_tpot;
    }
    const uint32_t chunk =
        std::min(query.prompt_tokens, ChunkBeside(query, time, with, budget));
    chunk_seconds = StepWith(query, time, with, chunk) - step;
  }
  cost.tpot = step + mixed * chunk_seconds;
  cost.tokens = tokens * cost.tpot;
  const bool idle = device.decode_rows == 0 && device.prefill_wait <= 0;
  cost.join = idle ? 0 : cost.tpot / 2;

  // Those who decode there now see, on average, half of it.
  const double shared_steps = tokens * 0.5;
  cost.damage = device.decode_rows * shared_steps * (step - step_before);
  const double harm = device.decode_rows * shared_steps *
                      BeyondTarget(device, step, step_before);
  // Prompts there wait for its share of the mixed steps. The first row's share
  // is the whole step: without it their chunks would be as long as they like.
  const double taken = std::max(mixed, ExpectedMix(query, device)) * tokens *
                       (device.decode_rows > 0 ? step - step_before : step);
  cost.others =
      weights.slack * cost.damage + weights.harm * harm + weights.work * taken;
  if (device.lends() && !IsHome(query, device)) {
    const double lost = CallBackSeconds(query, device, cost.tokens / 2);
    cost.damage += lost;
    cost.others += weights.kept * lost;
  }
  if (query.split != SplitMode::kOff && !device.lends()) {
    if (device.role == DeviceRole::kPrefill) cost.others += weights.role;
    if (device.prefilling && !device.decoding) cost.others += weights.turn;
  }
  return cost;
}

}  // namespace braid
