// `braid simulate`: one command, several modes, each in a file of its own. This
// one only tells which mode the arguments mean.
#pragma once

#include <string>
#include <vector>

namespace braid::server {

// Returns the process's exit status: 0; 1 when what was simulated is not as it
// must be (a violation); 2 when the arguments make no sense.
int RunSimulate(const std::vector<std::string>& args);

// --seeds: whole clusters under faults, by seed (simulate_seeds.cc).
int SimulateSeeds(const std::vector<std::string>& args);

// --trace: a recorded workload on a described cluster (simulate_trace.cc).
int SimulateTrace(const std::vector<std::string>& args);

// --validate: step times of GPUs against hardware (simulate_validate.cc).
int SimulateValidate(const std::vector<std::string>& args);

}  // namespace braid::server
