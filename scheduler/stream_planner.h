// What idle rows and blocks are given to elastic PARSCALE streams, and with
// them to the further candidates of best-of-n. Changes nothing.
//
// They live off what nobody else wants:
//   rows    what a step has left, while no prompt is computed on the device or
//           waits for it: a prompt would pay for every row with its first
//           token. Prompts on other devices pay nothing, whoever has lent cores
//           to whom: a device whose cores are lent runs no step.
//   time    a step with streams ends before the tightest token is due, and is
//           longer by no more than first tokens can bear (stream_allowance.h)
//           and the other rows' tokens.
//   blocks  free ones, and a bounded share of those with cached prefixes.
//           Admission counts what streams hold as free, and takes it back.
//
// Thread safety: engine thread only (scratch).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scheduler/best_of_planner.h"
#include "scheduler/catch_up_planner.h"
#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"
#include "scheduler/stream_filler.h"

namespace braid {

class StreamPlanner final {
 public:
  // `catch_ups`: who computes streams elsewhere. Outlives it.
  StreamPlanner(const SchedulerState& state, const CatchUpPlanner& catch_ups)
      : state_(state),
        forecast_(state),
        catch_ups_(catch_ups),
        best_of_(state) {}

  // Makes room for the plan's admissions.
  void MakeRoom(StepPlan& plan) const;
  // The rows of gangs' further streams, which are no less their due than the
  // first.
  void PlanGangs(StepPlan& plan, StepShape& shape) const;
  void PlanElastic(const DeviceState& device, TimePoint now,
                   StepPlan& plan) const;

  // A step begins, with rows of elastic streams or candidates or without.
  static void CountWithoutStreams(DeviceState& device, bool streams);

 private:
  // Drops streams until so many blocks come free; what is worth the least goes
  // first, and of one request the highest. All that are not in flight, when
  // that is not enough.
  void DropFor(PoolId pool, uint64_t blocks, StepPlan& plan) const;
  void PlanLingering(const DeviceState& device, StepPlan& plan) const;
  void FindCandidates(const DeviceState& device, const StepPlan& plan) const;
  static void InsertStreams(std::span<const StreamCandidate> candidates,
                            std::span<const uint32_t> places, StepPlan& plan);

  const SchedulerState& state_;
  const Forecast forecast_;
  const CatchUpPlanner& catch_ups_;
  const BestOfPlanner best_of_;
  // Scratch, so that plans allocate nothing.
  mutable StreamFiller filler_;
  mutable std::vector<StreamCandidate> candidates_;
  mutable std::vector<uint32_t> places_;     // their rows in the plan
  mutable std::vector<SpareStream> spares_;  // of DropFor
};

}  // namespace braid
