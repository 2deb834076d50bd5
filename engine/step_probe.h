// How long steps take on these devices, measured before there are requests. A
// placement weighs steps on a device's own cores against steps on everybody's,
// and an admission promises a first token: a server that had yet to learn both
// would give its first requests away to the wrong devices for as long as
// requests of all kinds have not been everywhere.
//
// Thread safety: before the engine is made.
#pragma once

#include "base/clock.h"
#include "engine/engine.h"

namespace braid {

// Fills EngineDevice::measured with some small steps' times: of all devices at
// once, each on its own cores, as they run when all have work; and where cores
// are lent, of each on everybody's. Blocks of the arenas are written. Takes at
// most `budget` and the rest of a step; what is not measured by then, or cannot
// be in the memory and the context there is, is left to be learned.
void MeasureSteps(EngineConfig& config,
                  Duration budget = std::chrono::seconds(1));

}  // namespace braid
