// Runs many seeds, in processes of their own: a defect that aborts (a CHECK)
// ends one seed, not the swarm, and is reported like any other violation, with
// the last events and the command that replays it.
//
// Workers take the next seed from a counter that they share; what they find
// they write to a pipe. With one thread per process and nothing shared besides,
// a seed's run does not depend on who runs it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "simulator/scenario.h"

namespace braid {

struct SwarmOptions {
  uint64_t from = 1, to = 1;  // both included
  SimulationOptions simulation;
  uint32_t jobs = 1;     // processes
  bool digests = false;  // one line per seed
  bool shrink = false;   // every violation that is shown
  uint32_t shown = 3;    // violations that are printed in full
  // After that many no more seeds are begun.
  uint64_t most_violations = ~uint64_t{0};
};

struct SwarmTotals {
  uint64_t seeds = 0, events = 0, faults = 0, violations = 0;
};

// Prints violations (and digests) to `out` as they are found.
SwarmTotals RunSwarm(const SwarmOptions& options, std::FILE* out);

// What one seed does when it is run in a process of its own: nothing, or what
// was wrong, with its last events. Bounded by a minute of processor time.
std::optional<std::string> RunAlone(uint64_t seed,
                                    const SimulationOptions& options);

// "braid simulate --seeds 17:17 --faults cancel"
std::string ReplayCommand(uint64_t seed, const SimulationOptions& options);

}  // namespace braid
