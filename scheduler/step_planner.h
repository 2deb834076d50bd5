// What a device does next: who is preempted, which rows and prompts' chunks its
// step has, who is admitted, what idle rows are given to, whose cores it uses.
// Changes nothing.
//
// Thread safety: engine thread only (scratch).
#pragma once

#include <cstdint>
#include <utility>

#include "scheduler/admission_planner.h"
#include "scheduler/catch_up_planner.h"
#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"
#include "scheduler/stream_planner.h"

namespace braid {

class StepPlanner final {
 public:
  explicit StepPlanner(const SchedulerState& state)
      : state_(state),
        forecast_(state),
        admissions_(state),
        catch_ups_(state),
        streams_(state, catch_ups_) {}
  StepPlanner(const StepPlanner&) = delete;
  StepPlanner& operator=(const StepPlanner&) = delete;

  // Scheduler::Plan.
  StepPlan Plan(DeviceId device, TimePoint now, StepPlan reuse) const;

 private:
  void PlanRows(const DeviceState& device, TimePoint now, StepPlan& plan) const;
  void PlanChunks(const DeviceState& device, TimePoint now,
                  const StepShape& rows, TimePoint due, StepPlan& plan) const;
  static void AddRow(const DecodeRow& row, StepPlan& plan);
  bool RowsGoFirst(const DeviceState& device, const StepShape& rows,
                   TimePoint now) const;
  std::pair<const Request*, const Request*> PromptsAt(
      const DeviceState& device) const;
  double ChunkSeconds(const DeviceState& device, const StepShape& rows,
                      TimePoint due, TimePoint now) const;
  static void AddChunk(const Request& request, uint32_t first, uint32_t count,
                       StepPlan& plan);
  void PlanLending(const DeviceState& device, StepPlan& plan) const;
  bool MayLend(const DeviceState& device, const DeviceState& other,
               const StepPlan& plan) const;

  const SchedulerState& state_;
  const Forecast forecast_;
  const AdmissionPlanner admissions_;
  const CatchUpPlanner catch_ups_;
  const StreamPlanner streams_;
};

}  // namespace braid
