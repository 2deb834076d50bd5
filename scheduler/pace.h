// What prompts and decode rows take from each other.
#pragma once

#include "scheduler/device_state.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_time_model.h"

namespace braid {

// A step with decode rows has ended. Where prompts and rows share every core, a
// row has lost what it took longer than steps on its device's own cores would
// have. What streams take of a step is not prompts' doing. `time`: of the step.
void NoteRowPace(DeviceState& device, const StepTimeModel& time,
                 const StepShape& shape, double seconds);

// A step with rows or prompts has ended. What its rows alone would not have
// taken went to prompts. `time`: of the step.
void NotePromptTime(SchedulerState& state, const StepTimeModel& time,
                    const StepShape& shape, bool prompts, double seconds);

}  // namespace braid
