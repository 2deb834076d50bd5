#include "engine/engine_stats.h"

#include <algorithm>

namespace braid {
namespace {

// Counts a value below the first bound that is not below it: bounds are
// inclusive.
template <typename Histogram>
void AddTo(Histogram& histogram, double value) {
  const auto& bounds = Histogram::kBounds;
  const auto bucket = std::ranges::lower_bound(bounds, value);
  ++histogram.counts[static_cast<size_t>(bucket - bounds.begin())];
  histogram.sum += value;
}

}  // namespace

void DurationHistogram::Add(Duration d) { AddTo(*this, ToSeconds(d)); }

void RatioHistogram::Add(double ratio) { AddTo(*this, ratio); }

}  // namespace braid
