// What newcomers meet, and what that costs them: told to StreamAllowance, which
// bounds by it what streams may add to steps.
#pragma once

#include "scheduler/request.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"

namespace braid {

// A request has come, and is bound.
void NoteArrival(SchedulerState& state, Request& request);
// A step of that shape begins, with chunks.
void NotePrompts(SchedulerState& state, const StepPlan& plan,
                 const StepShape& shape);
// What meeting rows has cost it is told by the wait for its first step, and by
// the same model of its steps with the rows and without: to compare what steps
// took would tell more of other prompts and of noise. Only rows that all owe
// may be there for streams' sake: others would be without.
void NoteFirstToken(SchedulerState& state, const Request& request);

}  // namespace braid
