// The further candidates of best-of-n (BestOfCandidate in request.h): what
// steps take of their blocks and leave in them, and how they come and go with
// their requests. BestOfPlanner says when.
//
// Thread safety: engine thread only.
// Invariant: a candidate holds blocks only while its request decodes or
// lingers, or a step works on them; of those that are complete, one at most.
#pragma once

#include <cstdint>
#include <optional>

#include "scheduler/request.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"

namespace braid {

class BestOfCandidates final {
 public:
  explicit BestOfCandidates(SchedulerState& state) : state_(state) {}

  // The request decodes from now on.
  void Open(Request& request);
  // It does not any more, nor does it linger. What a step works on follows with
  // its Commit.
  void Close(Request& request);

  void ApplyDrops(const StepPlan& plan);
  // A step begins with those rows of a candidate, and ends.
  void Apply(DeviceState& device, Request& request, const PlannedRows& rows);
  void Commit(Request& request, const PlannedRows& rows,
              std::optional<TokenId> drawn, bool failed, bool gave_way);

  // Scheduler::CompleteCandidate.
  void Complete(Request& request, uint32_t candidate, bool leads);
  // Its blocks are nobody's from here on, and cached.
  void Publish(const Request& request, BestOfCandidate& candidate);

  // Of all candidates of a request, but for those that a step works on.
  void DropAll(Request& request);
  // What a newcomer needs is not kept from it: it is judged by what is free.
  // The prompts of those that linger are the only blocks that admission does
  // not count as free, though it may have them.
  void GiveWayTo(const Request& newcomer);

 private:
  void Drop(BestOfCandidate& candidate);

  SchedulerState& state_;
};

}  // namespace braid
