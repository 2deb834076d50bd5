// What devices are for at a time. Where every device may do both phases and has
// a pool of its own, how many only decode is planned, not configured: once a
// turn, from what requests have been like. Elsewhere roles are as configured.
//
// Thread safety: engine thread only.
#pragma once

#include <cstdint>

#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/split.h"
#include "scheduler/split_planner.h"

namespace braid {

class Roles final {
 public:
  explicit Roles(SchedulerState& state)
      : state_(state), forecast_(state), planned_(PlansSplit(state.config)) {}

  // What requests are like: who sees one tells it.
  SplitPlanner& demand() { return demand_; }

  // How many devices only decode, and which: those that do already, then those
  // with the most rows.
  void Plan();
  // Of a planned layout, each is placed as if it were configured.
  SplitMode mode() const;

  // Writes down which devices begin to work for the other pool, or have not for
  // a while.
  void NoteVisits();

 private:
  SchedulerState& state_;
  const Forecast forecast_;
  const bool planned_;
  SplitPlanner demand_;
  uint32_t decode_devices_ = 0;  // as planned
};

}  // namespace braid
