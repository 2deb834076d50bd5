#include "scheduler/owing.h"

#include <algorithm>

#include "scheduler/forecast.h"
#include "scheduler/scheduler_state.h"

namespace braid {
namespace {

// What StreamShare allows. Half as much again, and up to twice as much, is what
// it comes to where rows and prompts are many, and wait for each other; where
// rows stand aside, no more than that (tests/scheduler/stream_load_test.cc).
constexpr double kShare = 0.010, kAsideShare = 0.018;
// Of what streams add to a step, until it sheds, on average.
constexpr double kShedPart = 0.5;

}  // namespace

// Where prompts are computed beside them, with every core: elsewhere a prompt
// has devices to go to on which nobody decodes, and rows that stood aside there
// would draw prompts to their own.
bool RowsStandAside(const SchedulerConfig& config) {
  return config.devices.size() == 1 ||
         (config.lend_cores && config.split != SplitMode::kOn);
}

double StreamShare(const SchedulerConfig& config) {
  return RowsStandAside(config) ? kAsideShare : kShare;
}

bool MayStandAside(const SchedulerConfig& config, const Request& request) {
  return (request.elastic() || request.best_of > 1) && RowsStandAside(config);
}

TimePoint AsideAfter(const Forecast& forecast, const DeviceState& own,
                     TimePoint now) {
  if (own.aside == 0) return kNever;
  return now + FromSeconds(forecast.TightestTpot(own));
}

bool GivesWay(const SchedulerConfig& config, const Forecast& forecast,
              const DeviceState& own, TimePoint now) {
  const TimePoint after = AsideAfter(forecast, own, now);
  return own.config.sheds_in_flight && RowsStandAside(config) &&
         std::ranges::all_of(own.decoding, [&](const DecodeRow& row) {
           return row.StandsAside() && row.due > after;
         });
}

void NoteOwed(const SchedulerState& state, DeviceState& own,
              const StepPlan& plan, bool prompts, bool shed) {
  const bool gave_way = shed && plan.gives_way;
  if (plan.added <= 0 && !(prompts && own.aside > 0) && !gave_way) return;
  const double added = shed ? kShedPart * plan.added : plan.added;
  const double took =
      prompts || gave_way ? ToSeconds(state.now - own.step_begin) : 0;
  for (DecodeRow& row : own.decoding) {
    if (state.requests.at(row.slot).in_flight && !gave_way) {
      own.Owe(row, added);
    } else if (row.StandsAside()) {
      own.Owe(row, -took);
    }
  }
}

}  // namespace braid
