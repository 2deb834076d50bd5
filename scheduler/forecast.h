// What the scheduler expects, as things are: how long steps and prompts take
// and wait, when blocks and rows come free. Changes nothing.
//
// Thread safety: engine thread only, as its state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scheduler/device_state.h"
#include "scheduler/request.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_time_model.h"

namespace braid {

class Forecast final {
 public:
  explicit Forecast(const SchedulerState& state) : state_(state) {}

  // The model of steps on its own cores and those of `lent` devices; while that
  // is a guess, the one that has seen the most.
  static const StepTimeModel& TimeOf(const DeviceState& device, size_t lent);
  // With the cores that it borrows as things are.
  const StepTimeModel& TimeOf(const DeviceState& device) const {
    return TimeOf(device, Lenders(device));
  }
  // Where the step has elastic streams.
  const StepTimeModel& StreamTimeOf(const DeviceState& device,
                                    size_t lent) const {
    return state_.config.lend_cores ? TimeOf(device, lent) : device.stream_time;
  }
  // Devices whose cores it borrows as things are: of those without work, its
  // share.
  uint32_t Lenders(const DeviceState& device) const;
  // Its times are more than a guess.
  bool IsWarm(const DeviceState& device) const;

  // Seconds; 0 when nobody decodes there.
  double TightestTpot(const DeviceState& device) const;
  double TpotWith(const DeviceState& device, const Request& request) const;

  // For prompts among the rows that decode there.
  double PromptSeconds(const DeviceState& device, const PromptWork& work) const;
  // What its prompt would have taken on an idle machine.
  double PromptAlone(const Request& request) const;
  // Until a prompt behind `ahead` would begin.
  double PrefillWait(const DeviceState& device, const PromptWork& ahead) const;
  // Until blocks and a row for it are likely to be free, behind `ahead`.
  double CreditWait(const DeviceState& device, const Request& request,
                    const QueuedByDevice& ahead) const;
  // Device time that it takes from others: what fairness is measured in.
  double ServiceSeconds(const Request& request) const;
  // From now to its end, were it alone on the machine with all cores lent.
  double LeastSeconds(const Request& request, const DeviceState& device,
                      uint32_t cached) const;

  // Whether one more row beside `rows` keeps the step within the tightest token
  // target.
  bool RowFits(const DeviceState& device, const StepShape& rows,
               const Request& request) const;
  // For its decode, as things are.
  bool HasRoom(const DeviceState& device, const Request& request) const;

 private:
  double ExpectedStay(const DeviceState& device, const Request& newcomer) const;

  const SchedulerState& state_;
};

// Of a request that decodes, with all streams of its gang.
inline void AddRowsOf(const Request& request, StepShape& shape) {
  shape.AddDecodeRow(request.size());
  for (uint32_t i = 1; i < request.gang; ++i) {
    shape.AddStreamRows(request.size() - 1, 1);
  }
}

}  // namespace braid
