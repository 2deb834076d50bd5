// Offer, and what is asked of the whole. Apply and Commit are in
// scheduler_commit, and what follows from them in scheduler_moves.
#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "scheduler/gangs.h"
#include "scheduler/newcomers.h"

namespace braid {

Scheduler::Scheduler(SchedulerConfig config) : state_(std::move(config)) {}

Scheduler::~Scheduler() = default;

absl::Status Scheduler::CheckSize(size_t prompt_tokens, uint32_t max_output,
                                  const StreamTerms& streams) const {
  if (prompt_tokens == 0) {
    return absl::InvalidArgumentError("the prompt has no tokens");
  }
  const uint64_t tokens = prompt_tokens + max_output;
  if (tokens > state_.config.max_context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", prompt_tokens, " tokens and ", max_output,
        " are to follow, but the context holds ", state_.config.max_context));
  }
  const bool gang = streams.mode == StreamMode::kFixed && streams.max > 1;
  if (gang && GangSet(state_.config, streams) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model has no PARSCALE weights for exactly ", streams.max,
        " streams: ask for another number, or for the mode auto"));
  }
  const uint32_t copies = gang ? streams.max : 1;
  if (gang &&
      std::ranges::none_of(state_.devices, [&](const DeviceState& device) {
        return state_.MayRunGang(device, copies);
      })) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no decode device has steps of more than ", copies, " rows"));
  }
  const uint64_t blocks = uint64_t{copies} * state_.BlocksFor(tokens);
  for (uint32_t capacity : state_.config.pool_blocks) {
    if (blocks > capacity) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the request needs ", blocks, " KV blocks, but a pool has only ",
          capacity,
          ": ask for fewer tokens, or serve with a larger --kv-memory"));
    }
  }
  return absl::OkStatus();
}

std::optional<Refusal> Scheduler::Offer(RequestInput input, TimePoint now) {
  BRAID_CHECK(
      CheckSize(input.prompt.size(), input.max_output, input.streams).ok());
  BRAID_CHECK(input.service_class < state_.config.classes.size());
  state_.now = now;
  Request& request = state_.requests.Add(std::move(input));
  ChooseGang(state_, request);
  best_of_.GiveWayTo(request);
  std::optional<Refusal> refusal = waiting_.Consider(request);
  if (refusal) {
    state_.Log(DecisionKind::kRefused, ToString(refusal->reason), request,
               refusal->predicted_ttft, refusal->retry_after);
    state_.requests.Forget(request.id);
    state_.requests.Free(request.slot);
  } else {
    roles_.demand().Arrive(now);
    NoteArrival(state_, request);
  }
  return refusal;
}

void Scheduler::TakeRefused(TimePoint now, std::vector<Refusal>& out) {
  state_.now = now;
  waiting_.RefuseTooLate();
  roles_.Plan();
  binder_.RebindSome();
  roles_.NoteVisits();
  waiting_.TakeRefused(out);
}

StepPlan Scheduler::Plan(DeviceId device, TimePoint now, StepPlan reuse) const {
  return step_planner_.Plan(device, now, std::move(reuse));
}

StreamStats Scheduler::stream_stats() const {
  StreamStats stats = state_.stream_stats;
  for (const auto& pool : state_.pools) stats.blocks += pool->elastic();
  stats.blocks -= state_.best_of_stats.blocks;
  stats.chance_to_meet = state_.allowance.chance_to_meet();
  stats.first_token = state_.allowance.first_token();
  stats.beside = state_.allowance.beside();
  return stats;
}

bool Scheduler::WantsShed(const StepPlan& in_flight) const {
  const DeviceState& own = state_.Device(in_flight.device);
  return own.running && (own.elastic_rows > 0 || in_flight.gives_way) &&
         streams_.IsPressed(own, in_flight.lent);
}

}  // namespace braid
