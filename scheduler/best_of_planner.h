// What idle rows and blocks are given to the further candidates of best-of-n.
// Changes nothing.
//
// They live as elastic streams do (stream_planner.h): on what a step has left,
// ranked beside them, and on blocks that admission counts as free. Where
// streams answer together with their request, a candidate is a text of its own:
// it may lag behind, and it may go on alone for a while when its request's own
// answer is complete (kLingering). Then it has rows only while nobody waits and
// no prompt is computed anywhere on the node.
//
// Thread safety: engine thread only (scratch).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"
#include "scheduler/stream_filler.h"

namespace braid {

class BestOfPlanner final {
 public:
  explicit BestOfPlanner(const SchedulerState& state) : state_(state) {}

  // Adds those of the plan's rows, and of requests that linger, that may have
  // rows.
  void Find(const DeviceState& device, const StepPlan& plan,
            std::vector<StreamCandidate>& candidates) const;
  // Those that Find has added last, filled: their rows come behind the row of
  // their request; of those that linger, behind all others.
  void Insert(std::span<const StreamCandidate> filled, StepPlan& plan) const;

  // Drops candidates until so many blocks come free: first the complete ones,
  // then those whose requests linger, then of the newest requests. Returns how
  // many do; all that are not in flight, when that is not enough.
  uint64_t Drop(PoolId pool, uint64_t blocks, StepPlan& plan) const;

 private:
  struct Place {
    uint32_t slot = 0;
    uint32_t candidate = 0;
  };

  void Find(const Request& request, uint32_t index,
            std::vector<StreamCandidate>& candidates) const;

  const SchedulerState& state_;
  mutable std::vector<Place> places_;  // of those that Find has added
  mutable std::vector<std::pair<const Request*, uint32_t>> spares_;  // of Drop
};

}  // namespace braid
