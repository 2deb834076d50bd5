// Rows that stand aside for prompts.
//
// Streams and candidates make steps longer, and so the answers of all who are
// in them: at times rows are there that would else have left, and newcomers
// meet them. So a row owes the time by which its answer has become longer, and
// pays it while prompts are computed on its device: it is left out of their
// steps, as far as its next token's due allows; and a step of such rows alone
// ends for a newcomer at the next layer, where the device can do that. Rows of
// requests that have neither streams nor candidates owe too, but have not asked
// for it and never stand aside.
#include <algorithm>

#include "scheduler/scheduler.h"

namespace braid {
namespace {

// Of the first-token time, that streams may cost by the books of
// stream_allowance.h. Half as much again, and up to twice as much, is what it
// comes to where rows and prompts are many, and wait for each other; where rows
// stand aside, no more than that (tests/scheduler/stream_load_test.cc).
constexpr double kShare = 0.010, kAsideShare = 0.018;
// Of what streams add to a step, until it sheds, on average.
constexpr double kShedPart = 0.5;

}  // namespace

// Where prompts are computed beside them, with every core: elsewhere a prompt
// has devices to go to on which nobody decodes, and rows that stood aside there
// would draw prompts to their own.
bool Scheduler::RowsStandAside(const SchedulerConfig& config) {
  return config.devices.size() == 1 ||
         (config.lend_cores && config.split != SplitMode::kOn);
}

double Scheduler::StreamShare(const SchedulerConfig& config) {
  return RowsStandAside(config) ? kAsideShare : kShare;
}

// It asks for what has made its answer longer.
bool Scheduler::MayStandAside(const Request& request) const {
  return (request.elastic() || request.best_of > 1) && RowsStandAside(config_);
}

// Standing aside is for rows whose next token is due after that: what is not
// may be overtaken by no step of prompts.
TimePoint Scheduler::AsideAfter(const DeviceState& own, TimePoint now) const {
  if (own.aside == 0) return kNever;
  return now + FromSeconds(TightestTpot(own));
}

// Whether a step of what there is on the device is ended by the next prompt:
// all of its rows would stand aside. Nothing of it is committed, and its rows
// are computed again behind the prompt: what a newcomer waits for is a layer.
// Planned while nobody waits, so that every such end has a newcomer, and rows
// go on.
bool Scheduler::GivesWay(const DeviceState& own, TimePoint now) const {
  const TimePoint after = AsideAfter(own, now);
  return own.config.sheds_in_flight && RowsStandAside(config_) &&
         std::ranges::all_of(own.decoding, [&](const DecodeRow& row) {
           return row.StandsAside() && row.due > after;
         });
}

// A step is over. The rows in it owe what streams have added; those aside have
// paid what prompts took, if need be in advance, and those that gave way what
// they have lost.
void Scheduler::NoteOwed(DeviceState& own, const StepPlan& plan, bool prompts,
                         bool shed) {
  const bool gave_way = shed && plan.gives_way;
  if (plan.added <= 0 && !(prompts && own.aside > 0) && !gave_way) return;
  const double added = shed ? kShedPart * plan.added : plan.added;
  const double took =
      prompts || gave_way ? ToSeconds(now_ - own.step_begin) : 0;
  for (DecodeRow& row : own.decoding) {
    if (requests_.at(row.slot).in_flight && !gave_way) {
      own.Owe(row, added);
    } else if (row.StandsAside()) {
      own.Owe(row, -took);
    }
  }
}

}  // namespace braid
