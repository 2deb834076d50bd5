#include "scheduler/step_planner.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "scheduler/owing.h"
#include "scheduler/phase_order.h"
#include "scheduler/preemption.h"

namespace braid {
namespace {

// Of the head of the queue, looked at for a device's next prompt.
constexpr size_t kLookedAt = 16;
// More rows than these hardly ever end together.
constexpr uint32_t kFewRows = 8;

// What a step may still take of prompts: tokens, and time.
class ChunkBudget {
 public:
  // Steps end within `seconds`; but `least` tokens may be taken in any case, so
  // that prompts never starve.
  ChunkBudget(const StepTimeModel& time, const StepShape& rows, uint32_t tokens,
              double seconds, uint32_t least)
      : time_(time),
        shape_(rows),
        tokens_(tokens),
        seconds_(seconds),
        least_(least) {}

  // Of `left` tokens behind `before` others of their sequence. All streams of a
  // gang take them alike, and together no more than a request alone would; but
  // a token, of which it has the rows, where nobody has taken any.
  uint32_t Take(uint32_t before, uint32_t left, uint32_t gang) {
    uint32_t count = std::min(tokens_ / gang, left);
    const uint32_t least = shape_.chunk_tokens == 0 && gang > 1 ? 1 : 0;
    count = std::max(count, least);
    if (count == 0) return 0;
    if (seconds_ < std::numeric_limits<double>::infinity()) {
      const uint32_t most =
          time_.LargestChunk(shape_, before, count, seconds_, gang);
      count = std::max({most, std::min(least_ / gang, count), least});
    }
    least_ -= std::min(least_, gang * count);
    tokens_ -= std::min(tokens_, gang * count);
    for (uint32_t i = 0; i < gang; ++i) shape_.AddChunk(before, count);
    return count;
  }

 private:
  const StepTimeModel& time_;
  StepShape shape_;
  uint32_t tokens_;
  const double seconds_;
  uint32_t least_;
};

}  // namespace

StepPlan StepPlanner::Plan(DeviceId id, TimePoint now, StepPlan plan) const {
  const DeviceState& own = state_.Device(id);
  BRAID_CHECK(own.idle());
  plan.device = id;
  plan.preempted.clear();
  plan.dropped.clear();
  plan.candidates_dropped.clear();
  plan.catch_ups_dropped.clear();
  plan.catch_up.reset();
  plan.admissions.clear();
  plan.rows.clear();
  plan.lent.clear();
  plan.offered = plan.unfilled = plan.best_of_offered = 0;
  plan.saved = own.saved;
  plan.added = 0;
  plan.gives_way = false;
  PlanPreemption(state_, own, now, plan);
  PlanRows(own, now, plan);
  streams_.MakeRoom(plan);
  if (own.elastic > 0) streams_.PlanElastic(own, now, plan);
  catch_ups_.Plan(own, plan);
  if (state_.config.lend_cores && !plan.rows.empty()) PlanLending(own, plan);
  return plan;
}

// Decode rows first: they are what a user watches; but some stand aside where
// there are prompts. What is left goes to those.
void StepPlanner::PlanRows(const DeviceState& own, TimePoint now,
                           StepPlan& plan) const {
  const bool prompts = !own.prefilling.empty() || state_.queue.size() > 0;
  const TimePoint aside_after =
      prompts ? AsideAfter(forecast_, own, now) : kNever;
  const auto stands_aside = [&](const DecodeRow& row) {
    return row.StandsAside() && row.due > aside_after;
  };
  const Duration step =
      aside_after == kNever
          ? Duration(0)
          : FromSeconds(forecast_.TimeOf(own).Predict(own.DecodeShape()));
  StepShape shape;
  TimePoint due = kNever;
  for (const DecodeRow& row : own.decoding) {
    if (plan.preempts(row.request)) continue;
    if (stands_aside(row)) {
      due = std::min(due, row.due - step);
      continue;
    }
    AddRow(row, plan);
    shape.AddDecodeRow(row.computed + 1);
    due = std::min(due, row.due);
  }
  if (own.bound_streams > 0) streams_.PlanGangs(plan, shape);
  if (!prompts) {
    plan.gives_way = GivesWay(state_.config, forecast_, own, now);
    return;
  }
  const size_t rows = plan.rows.size();
  if (!RowsGoFirst(own, shape, now)) PlanChunks(own, now, shape, due, plan);
  if (aside_after == kNever || plan.rows.size() > rows) return;
  // No prompt goes on.
  for (const DecodeRow& row : own.decoding) {
    if (stands_aside(row) && !plan.preempts(row.request)) {
      AddRow(row, plan);
    }
  }
}

void StepPlanner::AddRow(const DecodeRow& row, StepPlan& plan) {
  plan.rows.push_back({.request = row.request,
                       .kind = RowKind::kDecode,
                       .slot = row.slot,
                       .first = row.computed});
}

// Chunks in order of service, and then new requests, beside rows of that shape.
// The step should end before `due`.
void StepPlanner::PlanChunks(const DeviceState& own, TimePoint now,
                             const StepShape& shape, TimePoint due,
                             StepPlan& plan) const {
  // Fewer than max_rows rows are ever bound to a device, so a chunk always
  // finds one; a gang's finds its own, which do not decode yet.
  ChunkBudget budget(
      forecast_.TimeOf(own), shape,
      std::min(state_.config.prefill_chunk, own.config.max_rows - shape.rows()),
      ChunkSeconds(own, shape, due, now), state_.config.block_tokens);
  const auto add = [&](const Request& request, uint32_t first) {
    const uint32_t left = request.size() - first;
    const uint32_t count = budget.Take(first, left, request.gang);
    if (count == 0) return false;
    AddChunk(request, first, count, plan);
    return count == left;
  };
  for (const Request* request : own.prefilling) {
    if (!add(*request, request->computed)) return;
  }
  admissions_.ForEach(
      own, [&](const Request& request, const Admission& admission) {
        const auto cached = static_cast<uint32_t>(admission.shared.size()) *
                            state_.config.block_tokens;
        const size_t rows = plan.rows.size();
        const bool more = add(request, cached);
        if (plan.rows.size() > rows) {
          plan.admissions.push_back(admission);
        }
        return more;
      });
}

// Whether those who decode end before the next prompt goes on: the order of the
// two is free where one device has the cores of all. The prompts are those of
// the first in line.
bool StepPlanner::RowsGoFirst(const DeviceState& own, const StepShape& rows,
                              TimePoint now) const {
  const bool free = state_.config.lend_cores && state_.devices.size() > 1 &&
                    state_.split() == SplitMode::kAuto;
  if (!free || rows.decode_rows == 0 || rows.decode_rows > kFewRows) {
    return false;
  }
  const auto [first, last] = PromptsAt(own);
  if (first == nullptr) return false;
  PromptWork prompts = own.prefill_left;
  prompts += own.queued.prompts;
  uint32_t longest = 0;
  for (const DecodeRow& row : own.decoding) {
    longest =
        std::max(longest, state_.answers.Left(state_.requests.at(row.slot)));
  }
  return RowsFirst({.rows = rows.decode_rows,
                    .rows_left = longest * forecast_.TimeOf(own).Predict(rows),
                    .prompts = prompts.requests,
                    .prompts_left = forecast_.PromptSeconds(own, prompts),
                    .first_waited = ToSeconds(now - first->arrival),
                    .last_waited = ToSeconds(now - last->arrival),
                    .ttft_target = ToSeconds(state_.ClassOf(*first).ttft)});
}

// The first and the last of those whose prompts are computed there or wait for
// it; null: nobody.
std::pair<const Request*, const Request*> StepPlanner::PromptsAt(
    const DeviceState& device) const {
  const Request *first = nullptr, *last = nullptr;
  if (!device.prefilling.empty()) {
    first = device.prefilling.front();
    last = device.prefilling.back();
  }
  if (device.queued.prompts.requests == 0) return {first, last};
  size_t looked_at = 0;
  for (const QueueKey& key : state_.queue) {
    if (++looked_at > kLookedAt) break;
    const Request* request = state_.requests.Find(key.id);
    if (!request->bound || request->prefill_device != device.config.id) {
      continue;
    }
    if (first == nullptr) first = request;
    last = request;
  }
  return {first, last};
}

void StepPlanner::AddChunk(const Request& request, uint32_t first,
                           uint32_t count, StepPlan& plan) {
  const bool draws = first + count == request.size() && request.max_output > 0;
  const auto gang = static_cast<uint8_t>(request.gang);
  for (uint8_t stream = 0; stream < gang; ++stream) {
    plan.rows.push_back({.request = request.id,
                         .kind = RowKind::kChunk,
                         .slot = request.slot,
                         .first = first,
                         .count = count,
                         .draws = draws && stream == 0,
                         .stream = stream,
                         .gang = stream == 0 ? gang : uint8_t{1}});
  }
}

// How long a step with those decode rows may last: until the tightest due of
// them. Where the rows alone miss their targets there is nothing to keep, and
// prompts get as much time as the rows do.
double StepPlanner::ChunkSeconds(const DeviceState& own, const StepShape& rows,
                                 TimePoint due, TimePoint now) const {
  if (due == kNever) return std::numeric_limits<double>::infinity();
  const double alone = forecast_.TimeOf(own).Predict(rows);
  const double until = ToSeconds(due - now);
  return alone > forecast_.TightestTpot(own) ? std::max(until, 2 * alone)
                                             : until;
}

// An idle device with nothing to run, and nothing on its way to it, lends its
// cores. It is without them until this step ends.
void StepPlanner::PlanLending(const DeviceState& own, StepPlan& plan) const {
  for (const DeviceState& other : state_.devices) {
    if (&other == &own || !other.idle()) continue;
    if (MayLend(own, other, plan)) plan.lent.push_back(other.config.id);
  }
}

bool StepPlanner::MayLend(const DeviceState& own, const DeviceState& other,
                          const StepPlan& plan) const {
  if (other.transferring > 0 || !other.decoding.empty() ||
      !other.prefilling.empty()) {
    return false;
  }
  // Requests that other devices prefill, and that may come to decode while this
  // step runs: it must not keep them longer than their target.
  uint32_t elsewhere = other.bound;
  for (const Request* request : own.prefilling) {
    elsewhere -= request->decode_device == other.config.id;
  }
  const StepTimeModel& time = forecast_.TimeOf(own, plan.lent.size() + 1);
  if (elsewhere > 0 &&
      time.Predict(ShapeOf(plan)) > forecast_.TightestTpot(other)) {
    return false;
  }
  return state_.queue.size() == 0 || !admissions_.HasAny(other);
}

}  // namespace braid
