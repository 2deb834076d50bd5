// What every part of one simulated run shares: time, chance and the log.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "simulator/event_log.h"
#include "simulator/event_queue.h"
#include "simulator/faults.h"

namespace braid {

struct World {
  World(uint64_t seed, FaultSet allowed, uint64_t fault_limit)
      : faults(seed, allowed, fault_limit), rng(seed * 7919 + 1) {}

  void Log(uint32_t node, LogKind kind, int64_t a = 0, int64_t b = 0,
           int64_t c = 0) {
    log.Add(queue.now(), node, kind, a, b, c);
  }

  EventQueue queue;
  FaultSource faults;
  EventLog log;
  Rng rng;  // jitter of what is no fault
};

}  // namespace braid
