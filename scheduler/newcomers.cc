#include "scheduler/newcomers.h"

#include <algorithm>

#include "scheduler/forecast.h"
#include "scheduler/owing.h"

namespace braid {

void NoteArrival(SchedulerState& state, Request& request) {
  request.in_line =
      state.queue.size() > 1 ||
      std::ranges::any_of(state.devices, [](const DeviceState& device) {
        return !device.prefilling.empty();
      });
  const NearRows rows = state.RowsNear(state.Device(request.prefill_device));
  request.met_rows = rows.all;
  request.met_owing = rows.owing == rows.all;
  state.allowance.Arrived(request.met_rows > 0);
}

void NotePrompts(SchedulerState& state, const StepPlan& plan,
                 const StepShape& shape) {
  const Forecast forecast(state);
  const StepTimeModel& time =
      forecast.TimeOf(state.Device(plan.device), plan.lent.size());
  for (const PlannedRows& rows : plan.rows) {
    if (rows.kind != RowKind::kChunk || rows.stream > 0) continue;
    Request& request = state.requests.at(rows.slot);
    if (request.first_token != kNever) continue;
    request.prompt_begun = std::min(request.prompt_begun, state.now);
    StepShape step{.decode_rows = shape.decode_rows,
                   .decode_attended = shape.decode_attended,
                   .stream_rows = shape.stream_rows};
    step.AddChunk(rows.first, rows.count);
    request.prompt_seconds += time.Predict(step);
  }
}

void NoteFirstToken(SchedulerState& state, const Request& request) {
  if (request.gang > 1) return;
  const Forecast forecast(state);
  const double alone = forecast.PromptAlone(request);
  state.allowance.FirstToken(ToSeconds(state.now - request.arrival), alone);
  const bool told = forecast.IsWarm(state.Device(request.prefill_device)) &&
                    !request.in_line &&
                    (request.met_owing || !RowsStandAside(state.config));
  if (!told) return;
  const double wait = ToSeconds(request.prompt_begun - request.arrival);
  state.allowance.Met(request.met_rows, wait + request.prompt_seconds - alone,
                      alone);
}

}  // namespace braid
