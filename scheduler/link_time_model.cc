#include "scheduler/link_time_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace braid {
namespace {

// Weight of the newest hand-over, once there were a few.
constexpr double kGain = 1.0 / 32;
// A hand-over further off than this factor is taken as this far off, once there
// were a few: a stall is not the link's speed.
constexpr double kOutlier = 3;
constexpr uint64_t kFew = 8;
// Least spread of the tokens, relative to their mean, that says anything about
// the rate: with less, all of the time is latency.
constexpr double kLeastSpread = 0.05;

}  // namespace

void LinkTimeModel::Observe(uint32_t tokens, double seconds) {
  BRAID_CHECK(seconds >= 0 && std::isfinite(seconds));
  if (observed_ >= kFew) {
    const double expected = Predict(tokens);
    seconds = std::clamp(seconds, expected / kOutlier, expected * kOutlier);
  }
  ++observed_;
  const double gain = std::max(kGain, 1.0 / static_cast<double>(observed_));
  const double x = tokens;
  x_ += gain * (x - x_);
  y_ += gain * (seconds - y_);
  xx_ += gain * (x * x - xx_);
  xy_ += gain * (x * seconds - xy_);
  Fit();
}

void LinkTimeModel::Fit() {
  const double variance = xx_ - x_ * x_;
  const double least = kLeastSpread * x_;
  const double slope =
      variance > least * least ? (xy_ - x_ * y_) / variance : 0;
  rate_ = std::max(0.0, slope);
  latency_ = y_ - rate_ * x_;
  if (latency_ < 0) {  // the line through the origin is nearest
    latency_ = 0;
    rate_ = xy_ / xx_;
  }
}

}  // namespace braid
