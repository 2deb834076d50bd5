// The highest load at which a given share of the requests meets its targets,
// by bisection over the scale of a trace's arrivals.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "simulator/replay/replay_report.h"

namespace braid {

struct SearchStep {
  double scale = 0;
  double attainment = 0;
  // The run ended as soon as the share could not be reached any more; its
  // attainment is an upper bound.
  bool cut_short = false;
  double goodput = 0;  // requests per second that met both; 0 when cut short
};

struct SearchResult {
  double attainment = 0;  // asked for
  double scale = 0;       // the highest that reached it; 0: none did
  double goodput = 0, offered_rate = 0;  // there
  std::vector<SearchStep> steps;         // in the order in which they were run
};

// `run` replays at a scale, giving up once `attainment` is out of reach. Ends
// when the bracket is `precision` wide, relative to its lower end. Looks
// between 1/64 and 64 times the recorded rate.
absl::StatusOr<SearchResult> SearchGoodput(
    double attainment, double precision,
    const std::function<absl::StatusOr<SearchStep>(double scale)>& run);

}  // namespace braid
