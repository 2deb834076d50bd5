// What the machine can do at best, measured beside a benchmark in the same run:
// the only numbers that its results may be divided by.
#pragma once

#include <cstddef>
#include <span>

#include "base/huge_memory.h"
#include "bench/pinned_team.h"

namespace braid::bench {

// Reads a large memory in huge pages, split between the team's threads.
class ReadProbe final {
 public:
  explicit ReadProbe(size_t bytes);
  // Bytes per second of one pass over all of it.
  double Measure(PinnedTeam& team) const;

 private:
  HugeMemory memory_;
};

// int8 multiply-adds (two operations each) per second of all threads, in
// registers alone. Zero when the processor does not have the instruction.
double MeasureVnni(PinnedTeam& team);  // the widest dot product it has
double MeasureAmx(PinnedTeam& team);   // full tiles, 16 x 16 x 64
// Single-precision fused multiply-adds likewise.
double MeasureFma(PinnedTeam& team);

}  // namespace braid::bench
