// A measured curve: latency (or any positive figure) by size, interpolated in
// the logarithm of both, so that between two powers of two it follows the power
// law that joins them.
#pragma once

#include <vector>

namespace braid::gpu {

class Curve final {
 public:
  Curve() = default;
  // Pairs whose y is not a positive number are left out. REQUIRES: `x` rises
  // and is positive; as many of `y`.
  Curve(const std::vector<double>& x, const std::vector<double>& y);

  bool empty() const { return log_x_.empty(); }
  // Below the first point: its value. Beyond the last: as x^`growth` from
  // there. REQUIRES: !empty(), x > 0.
  double At(double x, double growth = 1) const;

 private:
  std::vector<double> log_x_, log_y_;
};

}  // namespace braid::gpu
