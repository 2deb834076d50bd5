// Rows that stand aside for prompts.
//
// Streams and candidates make steps longer, and so the answers of all who are
// in them: at times rows are there that would else have left, and newcomers
// meet them. So a row owes the time by which its answer has become longer, and
// pays it while prompts are computed on its device: it is left out of their
// steps, as far as its next token's due allows; and a step of such rows alone
// ends for a newcomer at the next layer, where the device can do that. Rows of
// requests that have neither streams nor candidates owe too, but have not asked
// for it and never stand aside.
#pragma once

#include "base/clock.h"
#include "scheduler/device_state.h"
#include "scheduler/request.h"
#include "scheduler/scheduler_config.h"
#include "scheduler/step_plan.h"

namespace braid {

class Forecast;
struct SchedulerState;

// Whether any do, on such machines.
bool RowsStandAside(const SchedulerConfig& config);
// Of the first-token time, that streams may cost by the books of
// stream_allowance.h.
double StreamShare(const SchedulerConfig& config);
// Whether the request asks for what has made its answer longer.
bool MayStandAside(const SchedulerConfig& config, const Request& request);

// Standing aside is for rows whose next token is due after that: what is not
// may be overtaken by no step of prompts.
TimePoint AsideAfter(const Forecast& forecast, const DeviceState& device,
                     TimePoint now);
// Whether a step of what there is on the device is ended by the next prompt:
// all of its rows would stand aside. Nothing of it is committed, and its rows
// are computed again behind the prompt: what a newcomer waits for is a layer.
// Planned while nobody waits, so that every such end has a newcomer, and rows
// go on.
bool GivesWay(const SchedulerConfig& config, const Forecast& forecast,
              const DeviceState& device, TimePoint now);

// A step is over. The rows in it owe what streams have added; those aside have
// paid what prompts took, if need be in advance, and those that gave way what
// they have lost.
void NoteOwed(const SchedulerState& state, DeviceState& device,
              const StepPlan& plan, bool prompts, bool shed);

}  // namespace braid
