// What idle rows and blocks are given to the further candidates of best-of-n.
// All const.
//
// They live as elastic streams do (scheduler_streams.cc): on what a step has
// left, ranked beside them, and on blocks that admission counts as free. Where
// streams answer together with their request, a candidate is a text of its own:
// it may lag behind, and it may go on alone for a while when its request's own
// answer is complete (kLingering). Then it has rows only while nobody waits and
// no prompt is computed anywhere on the node.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// What a candidate's token counts for beside a stream's, nats: about what a
// second stream gains. They are not of one kind, so this is a choice, not a
// measurement.
constexpr std::array<double, 2> kWorth = {0, 0.01};
// How much longer than that of a single row a step of candidates alone may be:
// nobody has rows in it, and whoever comes meanwhile waits for its end.
constexpr double kAlone = 1.5;

}  // namespace

// Behind the candidates_ that FindCandidates has found: those of the plan's
// rows, and of requests that linger.
void Scheduler::FindBestOf(const DeviceState& own, const StepPlan& plan) const {
  best_of_.clear();
  if (own.best_of == 0) return;
  for (const PlannedRows& rows : plan.rows) {
    const Request& request = state_.requests.at(rows.slot);
    if (rows.kind != RowKind::kDecode || request.candidates.empty()) continue;
    for (uint32_t i = 1; i < request.best_of; ++i) FindBestOf(request, i);
  }
  for (const Request* request : own.lingering) {
    for (uint32_t i = 1; i < request->best_of; ++i) FindBestOf(*request, i);
  }
}

void Scheduler::FindBestOf(const Request& request, uint32_t index) const {
  const BestOfCandidate& one = request.candidates[index - 1];
  if (one.complete) return;
  const auto first = static_cast<uint32_t>(request.output().size());
  const uint32_t size =
      std::max(static_cast<uint32_t>(one.tokens.size()), request.prompt_size);
  const uint32_t drawn = size - request.prompt_size;
  const uint32_t expected = first + state_.answers.Expected(request);
  if (request.state == RequestState::kLingering) {
    if (!one.holds()) return;
  } else if (first > drawn && 2 * (first - drawn) > expected) {
    // It would be given up before it is complete: a request lingers for half
    // the time that its own answer took.
    return;
  }
  best_of_.push_back({.slot = request.slot, .candidate = index});
  StreamCandidate& candidate = candidates_.emplace_back();
  const uint32_t shared = request.candidates_share(state_.config.block_tokens);
  candidate.position = size - 1;
  candidate.remaining = std::max(expected, drawn + 1) - drawn;
  candidate.most = 2;
  candidate.gain = kWorth;
  candidate.computed[1] =
      one.holds() ? one.computed : shared * state_.config.block_tokens;
  candidate.blocks[1] =
      one.holds() ? static_cast<uint32_t>(one.blocks.blocks().size()) : shared;
}

// The filled candidates' rows behind the row of their request; of those that
// linger, behind all others. From the back, so that nothing is moved twice. A
// trial may give them more than they were offered: that was idle, too.
void Scheduler::InsertBestOf(std::span<const StreamCandidate> filled,
                             StepPlan& plan) const {
  BRAID_CHECK(filled.size() == best_of_.size());
  const auto given = std::ranges::count_if(
      filled, [](const StreamCandidate& one) { return one.rows[1] > 0; });
  if (given == 0) return;
  const auto drawing = std::ranges::count(filled, 2u, &StreamCandidate::gang);
  plan.best_of_offered =
      std::max(plan.best_of_offered, static_cast<uint32_t>(drawing));
  size_t from = plan.rows.size(), to = from + static_cast<size_t>(given);
  plan.rows.resize(to);
  size_t next = filled.size();
  const auto emit_all_of = [&](uint32_t slot) {
    for (; next > 0 && best_of_[next - 1].slot == slot; --next) {
      const StreamCandidate& one = filled[next - 1];
      if (one.rows[1] == 0) continue;
      plan.rows[--to] = {
          .request = state_.requests.at(slot).id,
          .kind = RowKind::kCandidate,
          .slot = slot,
          .first = one.computed[1],
          .count = one.rows[1],
          .draws = one.gang == 2,
          .stream = static_cast<uint8_t>(best_of_[next - 1].candidate)};
    }
  };
  while (next > 0 && state_.requests.at(best_of_[next - 1].slot).state ==
                         RequestState::kLingering) {
    emit_all_of(best_of_[next - 1].slot);
  }
  while (from > 0) {
    const PlannedRows row = plan.rows[--from];
    if (row.kind == RowKind::kDecode) emit_all_of(row.slot);
    plan.rows[--to] = row;
  }
  BRAID_CHECK(next == 0 && to == 0);
}

// Nobody decodes there, so candidates that linger may have a step of their own;
// whoever comes waits for its end.
void Scheduler::PlanLingering(const DeviceState& own, StepPlan& plan) const {
  const bool prompts = std::ranges::any_of(
      state_.devices,
      [](const DeviceState& d) { return !d.prefilling.empty(); });
  if (own.lingering.empty() || prompts || state_.queue.size() > 0 ||
      !forecast_.IsWarm(own)) {
    return;
  }
  candidates_.clear();
  FindBestOf(own, plan);
  StepShape row;
  for (const StreamCandidate& one : candidates_) {
    row.decode_attended =
        std::max<uint64_t>(row.decode_attended, one.position + 1);
  }
  row.stream_rows = 1;
  const StepTimeModel& time =
      forecast_.StreamTimeOf(own, forecast_.Lenders(own));
  const double seconds = kAlone * time.Predict(row);
  plan.best_of_offered = StreamFiller::Offered(candidates_, StepShape(), time,
                                               seconds, own.config.max_rows);
  filler_.Fill(candidates_, StepShape(), time,
               {.seconds = seconds,
                .rows = own.config.max_rows,
                .slice = state_.config.prefill_chunk,
                .blocks = state_.RoomForElastic(own.config.pool),
                .block_tokens = state_.config.block_tokens});
  InsertBestOf(candidates_, plan);
}

// Drops candidates until so many blocks come free: first the complete ones,
// then those whose requests linger, then of the newest requests. Returns how
// many do; all that are not in flight, when that is not enough.
uint64_t Scheduler::DropBestOf(PoolId id, uint64_t blocks,
                               StepPlan& plan) const {
  best_of_spares_.clear();
  const auto add = [&](const Request& request) {
    for (const Preemption& preemption : plan.preempted) {
      if (preemption.request == request.id) return;
    }
    for (uint32_t i = 1; i < request.best_of; ++i) {
      const BestOfCandidate& one = request.candidates[i - 1];
      if (one.holds() && !one.in_flight)
        best_of_spares_.push_back({&request, i});
    }
  };
  for (const DeviceState& device : state_.devices) {
    if (device.config.pool != id || device.best_of == 0) continue;
    for (const Request* request : device.lingering) add(*request);
    for (const DecodeRow& row : device.decoding)
      add(state_.requests.at(row.slot));
  }
  std::ranges::sort(best_of_spares_, [](const auto& a, const auto& b) {
    const auto& [one, i] = a;
    const auto& [two, j] = b;
    const bool one_is_over = one->candidates[i - 1].complete;
    if (one_is_over != two->candidates[j - 1].complete) return one_is_over;
    const bool one_lingers = one->state == RequestState::kLingering;
    const bool two_lingers = two->state == RequestState::kLingering;
    if (one_lingers != two_lingers) return one_lingers;
    return one->id != two->id ? one->id > two->id : i > j;
  });
  uint64_t found = 0;
  for (const auto& [request, i] : best_of_spares_) {
    if (found >= blocks) break;
    found += request->candidates[i - 1].own_blocks().size();
    plan.candidates_dropped.push_back(
        {.request = request->id, .slot = request->slot, .candidate = i});
  }
  return found;
}

}  // namespace braid
