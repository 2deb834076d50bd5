// Makes a failing seed smaller: fewer kinds of faults, fewer nodes, fewer
// requests, fewer faults, for as long as it still violates anything.
#pragma once

#include <cstdint>
#include <string>

#include "simulator/scenario.h"

namespace braid {

struct Shrunk {
  SimulationOptions options;
  std::string text;   // the violation that is left
  uint32_t runs = 0;  // that it took; bounded
};

// REQUIRES: the seed violates with these options.
Shrunk Shrink(uint64_t seed, const SimulationOptions& options);

}  // namespace braid
