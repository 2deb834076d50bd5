// What prompts and decode rows take from each other.
#pragma once

#include "scheduler/device_state.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_time_model.h"

namespace braid {

// A step with decode rows has ended. Where prompts and rows share every core,
// rows should lose no more by that than they would by decoding on their
// device's own, and a fifth. What streams take of a step is not prompts' doing.
// `time`: of the step.
void NoteRowPace(DeviceState& device, const StepTimeModel& time,
                 const StepShape& shape, double seconds);
// Prompts to come should rather go to other devices.
bool RowsAreBehind(const SchedulerState& state, const DeviceState& device);

// A step with rows or prompts has ended. What its rows alone would not have
// taken went to prompts. `time`: of the step.
void NotePromptTime(SchedulerState& state, const StepTimeModel& time,
                    const StepShape& shape, bool prompts, double seconds);

}  // namespace braid
