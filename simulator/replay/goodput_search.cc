#include "simulator/replay/goodput_search.h"

#include <cmath>

#include "base/status_macros.h"

namespace braid {
namespace {

constexpr double kWidest = 64;

}  // namespace

absl::StatusOr<SearchResult> SearchGoodput(
    double attainment, double precision,
    const std::function<absl::StatusOr<SearchStep>(double scale)>& run) {
  SearchResult result{.attainment = attainment};
  double reached = 0, missed = 0;  // 0: not known yet
  for (double scale = 1; scale <= kWidest && scale >= 1 / kWidest;) {
    BRAID_ASSIGN_OR_RETURN(const SearchStep step, run(scale));
    result.steps.push_back(step);
    if (!step.cut_short && step.attainment >= attainment) {
      reached = scale;
      result.scale = scale;
      result.goodput = step.goodput;
      result.offered_rate = step.goodput / step.attainment;
    } else {
      missed = scale;
    }
    if (reached > 0 && missed > 0) {
      if (missed / reached <= 1 + precision) break;
      scale = std::sqrt(reached * missed);
    } else {
      // Loads are rarely far from what was recorded: steps grow as they fail.
      const double stride = std::pow(1.5, result.steps.size());
      scale = reached > 0 ? scale * stride : scale / stride;
    }
  }
  return result;
}

}  // namespace braid
