// A function of a whole number, kept at 0 to 15 and at eight points of every
// octave above: found with a shift, between points linear. A decode step asks
// two of these and the replay of a trace asks a million decode steps.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace braid::gpu {

struct OctaveGrid {
  static constexpr uint32_t kLinear = 16;  // points below the first octave
  struct Place {
    uint32_t index;  // of the point at or below
    double share;    // of the way to the next
  };

  // Points needed to cover 0 to `max`.
  static uint32_t PointsFor(uint64_t max) { return At(max).index + 2; }

  static uint64_t Point(uint32_t index) {
    if (index < kLinear) return index;
    const uint32_t octave = (index - kLinear) / 8;
    return uint64_t{8 + (index - kLinear) % 8} << (octave + 1);
  }

  static Place At(uint64_t x) {
    if (x < kLinear) return {static_cast<uint32_t>(x), 0};
    const uint32_t shift = static_cast<uint32_t>(std::bit_width(x)) - 4;
    const uint32_t index =
        kLinear + (shift - 1) * 8 + (static_cast<uint32_t>(x >> shift) - 8);
    const uint64_t rest = x & ((uint64_t{1} << shift) - 1);
    return {index, static_cast<double>(rest) /
                       static_cast<double>(uint64_t{1} << shift)};
  }
};

class OctaveCurve final {
 public:
  OctaveCurve() = default;
  // `f` is asked at every point up to `max`. More never costs less: what costs
  // more than a larger size is padded to that size.
  template <typename F>
  OctaveCurve(uint64_t max, const F& f) {
    for (uint32_t i = 0; i < OctaveGrid::PointsFor(max); ++i) {
      values_.push_back(f(OctaveGrid::Point(i)));
    }
    for (size_t i = values_.size() - 1; i > 0; --i) {
      values_[i - 1] = std::min(values_[i - 1], values_[i]);
    }
  }

  // Beyond the last point: on along the last stretch.
  double At(uint64_t x) const {
    const OctaveGrid::Place place = OctaveGrid::At(x);
    if (place.index + 1 < values_.size()) {
      const double low = values_[place.index];
      return low + place.share * (values_[place.index + 1] - low);
    }
    const auto last = static_cast<uint32_t>(values_.size() - 1);
    const double slope = (values_[last] - values_[last - 1]) /
                         static_cast<double>(OctaveGrid::Point(last) -
                                             OctaveGrid::Point(last - 1));
    return values_[last] +
           slope * static_cast<double>(x - OctaveGrid::Point(last));
  }

 private:
  std::vector<double> values_;
};

// The same of two numbers, both padded.
class OctaveSurface final {
 public:
  OctaveSurface() = default;
  template <typename F>
  OctaveSurface(uint64_t max_x, uint64_t max_y, const F& f)
      : x_points_(OctaveGrid::PointsFor(max_x)),
        y_points_(OctaveGrid::PointsFor(max_y)) {
    values_.resize(std::size_t{x_points_} * y_points_);
    for (uint32_t i = 0; i < x_points_; ++i) {
      for (uint32_t j = 0; j < y_points_; ++j) {
        values_[i * y_points_ + j] =
            f(OctaveGrid::Point(i), OctaveGrid::Point(j));
      }
    }
    for (std::size_t at = values_.size(); at-- > 0;) {
      double& value = values_[at];
      if (at + y_points_ < values_.size()) {
        value = std::min(value, values_[at + y_points_]);
      }
      if ((at + 1) % y_points_ != 0) value = std::min(value, values_[at + 1]);
    }
  }

  // Beyond the last points: in proportion.
  double At(uint64_t x, uint64_t y) const {
    OctaveGrid::Place px = OctaveGrid::At(x), py = OctaveGrid::At(y);
    double beyond = 1;
    if (px.index + 1 >= x_points_) {
      px = {x_points_ - 2, 1};
      beyond *= static_cast<double>(x) /
                static_cast<double>(OctaveGrid::Point(x_points_ - 1));
    }
    if (py.index + 1 >= y_points_) {
      py = {y_points_ - 2, 1};
      beyond *= static_cast<double>(y) /
                static_cast<double>(OctaveGrid::Point(y_points_ - 1));
    }
    const double* low = &values_[std::size_t{px.index} * y_points_ + py.index];
    const double* high = low + y_points_;
    const double at_low = low[0] + py.share * (low[1] - low[0]);
    const double at_high = high[0] + py.share * (high[1] - high[0]);
    return beyond * (at_low + px.share * (at_high - at_low));
  }

 private:
  uint32_t x_points_ = 0, y_points_ = 0;
  std::vector<double> values_;
};

}  // namespace braid::gpu
