// Which devices waiting requests are bound to: how a request sees the devices,
// what the placement policy makes of that, and when it is bound to others than
// before.
//
// Thread safety: engine thread only.
// Invariant: DeviceState::queued sums what bound requests will take of it; who
// is not bound takes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "scheduler/forecast.h"
#include "scheduler/placement_policy.h"
#include "scheduler/request.h"
#include "scheduler/roles.h"
#include "scheduler/scheduler_state.h"

namespace braid {

class Binder final {
 public:
  Binder(SchedulerState& state, Roles& roles);

  // The policy's choice for a request that would stand at its key.
  std::optional<Placement> Choose(const Request& request);
  // In its pool, of the prompt that Choose has looked at last: tokens.
  uint32_t CachedFor(const DeviceState& device) const {
    return matched_[device.config.pool.value()];
  }

  // It is in the queue from now on, bound to nothing yet, or no longer.
  void Enter() { ++unbound_; }
  void Leave(Request& request);
  // REQUIRES: it is in the queue, and unbound; Choose has just looked at it.
  void Bind(Request& request, const Placement& placement);
  void Unbind(Request& request);
  // To what is best now. It stays unbound while no device can take it.
  void Rebind(Request& request);
  // The head of the queue looks around: whoever is bound to no device, or to
  // one that is far behind while another has nothing to do, or to a full one
  // while another has room.
  void RebindSome();

  // One that is bound, and cannot keep its deadline any more; null: nobody.
  Request* FirstTooLate() const;

  // CHECKs the books against the caller's: waiting requests that are not bound,
  // and those that are, with a deadline.
  void Check(uint32_t unbound, size_t dated) const;

 private:
  DeviceView ViewOf(const DeviceState& device, const Request& request,
                    const QueuedByDevice& ahead);
  uint32_t CountShared(const Request& request, PoolId pool,
                       uint32_t tokens) const;
  bool ShouldMove(const Request& request) const;
  void GiveUpGang(Request& request);
  TimePoint LatestStart(const Request& request,
                        const DeviceState& prefill) const;

  SchedulerState& state_;
  const Forecast forecast_;
  Roles& roles_;
  uint32_t unbound_ = 0;
  // Bound requests with a deadline, by latest_start.
  std::set<std::pair<TimePoint, RequestId>> latest_starts_;
  std::vector<uint32_t> matched_;  // by Choose: cached tokens, by pool
  // Scratch of Choose; the second is what the first point to.
  std::vector<DeviceView> views_;
  std::vector<const StepTimeModel*> times_;
  std::vector<Request*> rebinding_;  // scratch of RebindSome
};

}  // namespace braid
