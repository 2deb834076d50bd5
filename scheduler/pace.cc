#include "scheduler/pace.h"

#include <algorithm>

#include "scheduler/forecast.h"

namespace braid {
namespace {

// Seconds that count for a row that was faster: who was fast for long is not
// slow for long.
constexpr double kMostAhead = 0.1;

}  // namespace

void NoteRowPace(DeviceState& own, const StepTimeModel& time,
                 const StepShape& shape, double seconds) {
  const StepShape requests{.decode_rows = shape.decode_rows,
                           .decode_attended = shape.decode_attended};
  StepShape rows = requests;
  rows.stream_rows = shape.stream_rows;
  const double streams = time.Predict(rows) - time.Predict(requests);
  const double lost =
      seconds - streams - Forecast::TimeOf(own, 0).Predict(requests);
  own.pace_lost += lost;
  own.rows_behind = 0;
  for (DecodeRow& row : own.decoding) {
    // What it owes is no loss to it.
    if (row.StandsAside()) row.pace_mark += std::max(0.0, lost);
    row.pace_mark = std::min(row.pace_mark, own.pace_lost + kMostAhead);
    own.rows_behind = std::max(own.rows_behind, own.pace_lost - row.pace_mark);
  }
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
