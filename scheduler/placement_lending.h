// What lent cores are to a placement. A device without work lends its cores to
// those of its node that have some; so where a request goes decides how fast
// its own steps are, and how fast everybody else's. Where work gathers on one
// device, that has them all; a request on a second one calls its cores back.
//
// Thread safety: pure functions.
#pragma once

#include "scheduler/placement_policy.h"

namespace braid {

// Of the device's steps, were the request there.
const StepTimeModel& StepsOf(const PlacementQuery& query,
                             const DeviceView& device);

// Cores that a step there takes, were the request there, in devices.
double DevicesTaken(const PlacementQuery& query, const DeviceView& device);

// Seconds that the others lose, summed over their rows and prompts, because the
// device works `seconds` longer than it would, and lends them nothing.
double CallBackSeconds(const PlacementQuery& query, const DeviceView& device,
                       double seconds);

// Where rows gather: of the devices that lend, the one with the most rows. The
// others are left to run dry, so its rows will have every core.
bool IsHome(const PlacementQuery& query, const DeviceView& device);
// Of a row's steps there.
const StepTimeModel& RowStepsOf(const PlacementQuery& query,
                                const DeviceView& device);

}  // namespace braid
