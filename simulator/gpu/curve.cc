#include "simulator/gpu/curve.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/check.h"

namespace braid::gpu {

Curve::Curve(const std::vector<double>& x, const std::vector<double>& y) {
  BRAID_CHECK(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    if (!(y[i] > 0) || !std::isfinite(y[i])) continue;
    log_x_.push_back(std::log(x[i]));
    log_y_.push_back(std::log(y[i]));
  }
}

double Curve::At(double x, double growth) const {
  const double at = std::log(x);
  if (at <= log_x_.front()) return std::exp(log_y_.front());
  if (at >= log_x_.back()) {
    return std::exp(log_y_.back() + growth * (at - log_x_.back()));
  }
  const size_t above = static_cast<size_t>(
      std::upper_bound(log_x_.begin(), log_x_.end(), at) - log_x_.begin());
  const size_t below = above - 1;
  const double share = (at - log_x_[below]) / (log_x_[above] - log_x_[below]);
  return std::exp(log_y_[below] + share * (log_y_[above] - log_y_[below]));
}

}  // namespace braid::gpu
