// Who runs its PARSCALE streams in lock-step (stream_terms.h).
#pragma once

#include <cstdint>

#include "scheduler/request.h"
#include "scheduler/scheduler_state.h"

namespace braid {

// REQUIRES: it holds nothing.
void SetGang(const SchedulerConfig& config, Request& request,
             const StreamSet* set, uint32_t gang);
// On arrival. A fixed gang is what was asked for; of sets with one P, the
// largest that idle rows and blocks carry.
void ChooseGang(SchedulerState& state, Request& request);

}  // namespace braid
