// Who leaves the queue. A round of admissions takes from a ledger; Apply takes
// from the pools what it says. Changes nothing.
//
// Thread safety: engine thread only (scratch).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"

namespace braid {

// Blocks that a request must take.
struct BlockNeed {
  uint32_t prefill = 0;
  uint32_t decode = 0;  // 0: both devices have one pool
};
// Given how many blocks it shares. REQUIRES: it is bound.
BlockNeed NeedOf(const SchedulerState& state, const Request& request,
                 uint32_t shared, uint32_t landing);

class AdmissionPlanner final {
 public:
  explicit AdmissionPlanner(const SchedulerState& state)
      : state_(state), forecast_(state) {}

  // Calls `admit` for requests that `device` may start now, in order of
  // service, until it returns false.
  void ForEach(
      const DeviceState& device,
      absl::FunctionRef<bool(const Request&, const Admission&)> admit) const;
  bool HasAny(const DeviceState& device) const;

 private:
  // What a round may still take.
  struct Ledger {
    absl::InlinedVector<uint32_t, 8> blocks;     // by pool
    absl::InlinedVector<bool, 8> pool_closed;    // by pool
    absl::InlinedVector<StepShape, 8> rows;      // by device
    absl::InlinedVector<bool, 8> device_closed;  // by device
    uint32_t running = 0;
  };

  Ledger OpenLedger() const;
  bool Take(Ledger& ledger, const Request& request,
            const BlockNeed& need) const;
  bool Exact(const Request& request, const BlockNeed& guess, Ledger& ledger,
             Admission& admission) const;
  void ShareAlike(const Request& request, PoolId pool,
                  Admission& admission) const;
  void MatchPrefix(const Request& request, PoolId pool, uint32_t tokens,
                   std::vector<BlockId>& blocks) const;

  const SchedulerState& state_;
  const Forecast forecast_;
  // Scratch, so that a plan allocates nothing.
  mutable Admission admission_;
  mutable PrefixMatch stream_match_;
};

}  // namespace braid
