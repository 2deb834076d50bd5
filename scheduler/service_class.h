// What a class of requests is promised, and how long its queue may be. A list
// of them is part of the configuration, best first: the last is shed first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"

namespace braid {

struct ServiceClass {
  std::string name;  // as requests call it
  Duration ttft;     // target, from arrival to the first token
  Duration tpot;     // target, between tokens on average
  uint32_t max_queued = 0;

  // What steps are planned by: the target less a margin, or half of all answers
  // would miss it by the microseconds that no prediction sees.
  Duration pace() const { return tpot * 97 / 100; }
};

// Of a TTFT target. Predictions err: a first token that is predicted later
// counts as missed, for whoever lets requests in, places them or orders them.
inline constexpr double kSafeTtftShare = 0.9;

// interactive (2 s, 100 ms), batch (60 s, 500 ms).
std::vector<ServiceClass> DefaultServiceClasses();

}  // namespace braid
