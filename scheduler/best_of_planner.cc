#include "scheduler/best_of_planner.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace braid {
namespace {

// What a candidate's token counts for beside a stream's, nats: about what a
// second stream gains. They are not of one kind, so this is a choice, not a
// measurement.
constexpr std::array<double, 2> kWorth = {0, 0.01};

}  // namespace

void BestOfPlanner::Find(const DeviceState& own, const StepPlan& plan,
                         std::vector<StreamCandidate>& candidates) const {
  places_.clear();
  if (own.best_of == 0) return;
  for (const PlannedRows& rows : plan.rows) {
    const Request& request = state_.requests.at(rows.slot);
    if (rows.kind != RowKind::kDecode || request.candidates.empty()) continue;
    for (uint32_t i = 1; i < request.best_of; ++i) Find(request, i, candidates);
  }
  for (const Request* request : own.lingering) {
    for (uint32_t i = 1; i < request->best_of; ++i)
      Find(*request, i, candidates);
  }
}

void BestOfPlanner::Find(const Request& request, uint32_t index,
                         std::vector<StreamCandidate>& candidates) const {
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
  places_.push_back({.slot = request.slot, .candidate = index});
  StreamCandidate& candidate = candidates.emplace_back();
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

// From the back, so that nothing is moved twice. A trial may give them more
// than they were offered: that was idle, too.
void BestOfPlanner::Insert(std::span<const StreamCandidate> filled,
                           StepPlan& plan) const {
  BRAID_CHECK(filled.size() == places_.size());
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
    for (; next > 0 && places_[next - 1].slot == slot; --next) {
      const StreamCandidate& one = filled[next - 1];
      if (one.rows[1] == 0) continue;
      plan.rows[--to] = {
          .request = state_.requests.at(slot).id,
          .kind = RowKind::kCandidate,
          .slot = slot,
          .first = one.computed[1],
          .count = one.rows[1],
          .draws = one.gang == 2,
          .stream = static_cast<uint8_t>(places_[next - 1].candidate)};
    }
  };
  while (next > 0 && state_.requests.at(places_[next - 1].slot).state ==
                         RequestState::kLingering) {
    emit_all_of(places_[next - 1].slot);
  }
  while (from > 0) {
    const PlannedRows row = plan.rows[--from];
    if (row.kind == RowKind::kDecode) emit_all_of(row.slot);
    plan.rows[--to] = row;
  }
  BRAID_CHECK(next == 0 && to == 0);
}

uint64_t BestOfPlanner::Drop(PoolId id, uint64_t blocks, StepPlan& plan) const {
  spares_.clear();
  const auto add = [&](const Request& request) {
    if (plan.preempts(request.id)) return;
    for (uint32_t i = 1; i < request.best_of; ++i) {
      const BestOfCandidate& one = request.candidates[i - 1];
      if (one.holds() && !one.in_flight) spares_.push_back({&request, i});
    }
  };
  for (const DeviceState& device : state_.devices) {
    if (device.config.pool != id || device.best_of == 0) continue;
    for (const Request* request : device.lingering) add(*request);
    for (const DecodeRow& row : device.decoding)
      add(state_.requests.at(row.slot));
  }
  std::ranges::sort(spares_, [](const auto& a, const auto& b) {
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
  for (const auto& [request, i] : spares_) {
    if (found >= blocks) break;
    found += request->candidates[i - 1].own_blocks().size();
    plan.candidates_dropped.push_back(
        {.request = request->id, .slot = request->slot, .candidate = i});
  }
  return found;
}

}  // namespace braid
