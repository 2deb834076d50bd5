// Makes a failing seed smaller: fewer kinds of faults, fewer nodes, fewer
// requests, fewer faults, for as long as it still violates anything.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "simulator/scenario.h"

namespace braid {

struct Shrunk {
  SimulationOptions options;
  std::string text;   // the violation that is left
  uint32_t runs = 0;  // that it took; bounded
};

// What is wrong with the seed under these options; nothing: it passes.
using Violation =
    std::function<std::optional<std::string>(const SimulationOptions&)>;

// REQUIRES: there is one with these options.
Shrunk Shrink(uint64_t seed, const SimulationOptions& options,
              const Violation& violation);

}  // namespace braid
