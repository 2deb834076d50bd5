#include "scheduler/pace.h"

#include <algorithm>

#include "scheduler/forecast.h"

namespace braid {
namespace {

// Of what rows would take on their device's own cores, what they should take
// beside prompts.
constexpr double kRowPace = 1.2;
// Seconds that rows may fall behind that: a prompt or two, as short answers
// would else make every prompt slow. And the most that is remembered, of what
// they have to make up for and of what they are ahead.
constexpr double kMayFallBehind = 0.5, kMostBehind = 1, kMostAhead = 0.1;

}  // namespace

void NoteRowPace(DeviceState& own, const StepTimeModel& time,
                 const StepShape& shape, double seconds) {
  const StepShape requests{.decode_rows = shape.decode_rows,
                           .decode_attended = shape.decode_attended};
  StepShape rows = requests;
  rows.stream_rows = shape.stream_rows;
  const double streams = time.Predict(rows) - time.Predict(requests);
  const double pace = kRowPace * Forecast::TimeOf(own, 0).Predict(requests);
  own.rows_behind = std::clamp(own.rows_behind + seconds - streams - pace,
                               -kMostAhead, kMostBehind);
  if (own.decoding.empty()) own.rows_behind = 0;
}

bool RowsAreBehind(const SchedulerState& state, const DeviceState& device) {
  return state.split() == SplitMode::kAuto &&
         device.rows_behind > kMayFallBehind;
}

void NotePromptTime(SchedulerState& state, const StepTimeModel& time,
                    const StepShape& shape, bool prompts, double seconds) {
  double without = seconds;
  if (prompts) {
    state.prompt_load.NotePrompts(seconds, state.now);
    without = 0;
    if (shape.decode_rows > 0) {
      without = time.Predict({.decode_rows = shape.decode_rows,
                              .decode_attended = shape.decode_attended,
                              .stream_rows = shape.stream_rows});
    }
  }
  state.prompt_load.NoteStep(seconds, without);
}

}  // namespace braid
