// Which stream a device that has nothing to do computes for a request that
// decodes on another (stream_catch_up.h). Changes nothing.
//
// A stream is chosen by what it is worth: what it gains over the tokens that
// are still to come when it has arrived, per second that this takes. It is not
// begun where the answer is expected to end soon after, nor where the steps
// that it is for have no rows left for it.
//
// Prompts owe it nothing: it is begun, and goes on, only while the queue is
// empty and nobody is bound to the device, by steps that a newcomer hardly
// notices, and while another device has nothing to do at all, to which the
// newcomer will go; and it is sent while no request's KV is on its way at
// either end.
//
// A device whose cores are lent is not idle: they make the steps of those that
// decode shorter, and streams catch up there.
//
// Thread safety: engine thread only (scratch).
#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"

namespace braid {

// Of a request: a stream that may give its blocks back, and what keeping it is
// worth, nats per block; or that another device may compute, and what that is
// worth, nats per second.
struct SpareStream {
  const Request* request = nullptr;
  uint32_t stream = 0;
  double worth = 0;
};

// Whether it may be sent now: no request's KV is on its way at either end, nor
// another stream's.
bool MaySend(const SchedulerState& state, const StreamCatchUp& catch_up);

class CatchUpPlanner final {
 public:
  // Of a device's rows, the first ones, whose streams others may compute.
  static constexpr uint32_t kRows = 64;

  explicit CatchUpPlanner(const SchedulerState& state)
      : state_(state), forecast_(state) {}

  // Begins, goes on or gives up, where the device has nothing else to do.
  void Plan(const DeviceState& device, StepPlan& plan) const;
  // Frees blocks of streams that are computed elsewhere: they answer nobody
  // yet. Returns how many.
  uint64_t Drop(PoolId pool, uint64_t blocks, StepPlan& plan) const;

  // Who would compute a stream that is to decode on `decode` now; null: nobody.
  const DeviceState* HelperFor(const DeviceState& decode) const;
  // Whether the helper should compute a stream of the request, of which
  // `computed` tokens are there.
  bool IsLeftTo(const DeviceState& helper, const Request& request,
                uint32_t stream, uint32_t computed) const;

 private:
  bool MayCompute(const DeviceState& device) const;
  bool LeavesOneFree(const DeviceState& device) const;
  bool MaySpare(const DeviceState& device) const;
  bool MayHelp(const DeviceState& device, const DeviceState& decode) const;
  bool LagsFar(const Request& request, uint32_t computed) const;
  double Seconds(const DeviceState& device, PoolId to, uint32_t first,
                 uint32_t end) const;
  double Worth(const DeviceState& device, const Request& request,
               uint32_t stream, uint32_t first) const;
  double StepSeconds(const DeviceState& device) const;
  void AddRows(const DeviceState& device, const Request& request,
               uint32_t stream, uint32_t first, uint32_t end,
               StepPlan& plan) const;
  void Begin(const DeviceState& device, StepPlan& plan) const;
  void Find(const DeviceState& device, const Request& request) const;
  bool Begin(const DeviceState& device, const Request& request, uint32_t stream,
             StepPlan& plan) const;

  const SchedulerState& state_;
  const Forecast forecast_;
  mutable std::vector<SpareStream> spares_;  // scratch of Begin
};

}  // namespace braid
