// Requests that wait to be admitted: who may, who is refused, who makes room.
//
// Thread safety: engine thread only.
// Invariant: who waits is in the queue, or refused after all and only there
// until the caller has heard of it.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "scheduler/binder.h"
#include "scheduler/forecast.h"
#include "scheduler/refusal.h"
#include "scheduler/scheduler_state.h"

namespace braid {

class WaitingRequests final {
 public:
  // `binder` outlives it.
  WaitingRequests(SchedulerState& state, Binder& binder)
      : state_(state), forecast_(state), binder_(binder) {}

  // Queues and binds a newcomer, for whom others may be shed, or refuses it.
  std::optional<Refusal> Consider(Request& request);
  // Puts one back that was admitted before.
  void Restore(Request& request);
  // Out of the queue, and of the books of those that wait.
  void Leave(Request& request, bool served);

  // Those who cannot keep their deadlines any more.
  void RefuseTooLate();
  // Those who were refused while they waited, and not taken yet, are appended.
  void TakeRefused(std::vector<Refusal>& out);
  // It ends before it was taken, if it was not.
  void ForgetRefused(RequestId id);
  size_t refused() const { return refused_.size(); }

 private:
  double ExcessSeconds(const Request& request,
                       const Placement& placement) const;
  bool MissesDeadline(const Request& request, const Placement& placement) const;
  bool ShedFor(const Request& request, const Placement& placement,
               double excess);
  void Shed(const Request& request);
  void RefuseQueued(Request& request, const Refusal& refusal);

  SchedulerState& state_;
  const Forecast forecast_;
  Binder& binder_;
  std::vector<Refusal> refused_;  // not yet taken by the caller
};

}  // namespace braid
