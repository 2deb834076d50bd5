// Preemption, the last resort: a waiting request of a better class would miss
// its target, since blocks or a row are held by requests of a lower one. They
// go back to the queue with their tokens, to be computed again.
//
// Only the first request that waits for the device's blocks is helped: whatever
// is freed is its own. And only requests that stand behind it in the order of
// service are victims, so that they do not take back what they gave; twice at
// most, so that each of them gets on.
#pragma once

#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"

namespace braid {

void PlanPreemption(const SchedulerState& state, const DeviceState& device,
                    TimePoint now, StepPlan& plan);

// Whether requests of lower classes hold there what it lacks behind `ahead`.
bool CanPreemptFor(const SchedulerState& state, const DeviceState& device,
                   const Request& request, const QueuedByDevice& ahead);

}  // namespace braid
