#include "engine/engine_stats.h"

#include <algorithm>

namespace braid {

void DurationHistogram::Add(Duration d) {
  const double seconds = ToSeconds(d);
  // The first bound that is not below it: bounds are inclusive.
  const auto bucket = std::ranges::lower_bound(kBoundsSeconds, seconds);
  ++counts[static_cast<size_t>(bucket - kBoundsSeconds.begin())];
  sum_seconds += seconds;
}

}  // namespace braid
