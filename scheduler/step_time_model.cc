#include "scheduler/step_time_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace braid {
namespace {

constexpr int kN = 6;
using Vec = std::array<double, kN>;
using Mat = std::array<Vec, kN>;

// What the prior weighs, in steps; little, as any step knows better.
constexpr double kPriorInformation = 0.001;
// The terms of a large step. None is taken to be so cheap that such a step
// would not show it: the prior may be wrong by any factor.
constexpr Vec kLargeStep = {1, 1e3, 1e6, 1e2, 1e5, 1e2};

// What a step adds to every term, of the largest: it bounds the matrix's
// condition, and in an hour of steps amounts to nothing.
constexpr double kRidge = 1e-9;

// Of the overlap's gradient. Slow: the linear terms must not chase it.
constexpr double kOverlapGain = 0.1;

// Share of what is known along a step that the step replaces.
constexpr double kForget = 0.03;

// A mean error beyond this is no noise: the device has changed, and of all that
// is known a share as large as the rest is forgotten with every such step.
constexpr double kCalmBias = 0.08;
constexpr double kForgetMost = 0.5;
constexpr double kBiasGain = 0.2;

// A step further off than this is taken as this far off, unless nothing is
// known of its kind: one stop of the whole machine must not be learned.
constexpr double kOutlier = 3;

// Of relative_error, and the most that one step may add to it.
constexpr double kErrorGain = 1.0 / 32;
constexpr double kErrorMost = 10;

double Dot(const Vec& a, const Vec& b) {
  double sum = 0;
  for (int i = 0; i < kN; ++i) sum += a[i] * b[i];
  return sum;
}

Vec Times(const Mat& m, const Vec& v) {
  Vec out;
  for (int i = 0; i < kN; ++i) out[i] = Dot(m[i], v);
  return out;
}

// Solves m x = b over the terms in `mask`, the others being 0, by Cholesky.
// False: not positive definite to the last bit.
bool Solve(const Mat& m, const Vec& b, unsigned mask, Vec& x) {
  Mat l{};
  Vec y{};
  for (int i = 0; i < kN; ++i) {
    if (!(mask >> i & 1)) continue;
    double rest = b[i];
    for (int j = 0; j <= i; ++j) {
      if (!(mask >> j & 1)) continue;
      double sum = m[i][j];
      for (int k = 0; k < j; ++k) sum -= l[i][k] * l[j][k];
      if (i != j) {
        l[i][j] = sum / l[j][j];
        rest -= l[i][j] * y[j];
      } else if (sum > 0) {
        l[i][i] = std::sqrt(sum);
      } else {
        return false;
      }
    }
    y[i] = rest / l[i][i];
  }
  x = {};
  for (int i = kN - 1; i >= 0; --i) {
    if (!(mask >> i & 1)) continue;
    double rest = y[i];
    for (int k = i + 1; k < kN; ++k) rest -= l[k][i] * x[k];
    x[i] = rest / l[i][i];
  }
  return true;
}

constexpr unsigned kAll = (1u << kN) - 1;
constexpr int kStreamTerm = 5;

}  // namespace

StepTimeModel::StepTimeModel(const Prior& prior)
    : weights_{prior.base,
               prior.chunk_token,
               prior.chunk_attended,
               prior.decode_row,
               prior.decode_attended,
               prior.stream_row < 0
                   ? std::min(prior.decode_row, prior.chunk_token)
                   : prior.stream_row},
      information_{},
      overlap_(prior.overlap) {
  BRAID_CHECK(overlap_ >= 0 && overlap_ <= 1);
  const double base = prior.base > 0 ? prior.base : Prior().base;
  for (int i = 0; i < kTerms; ++i) {
    BRAID_CHECK(weights_[i] >= 0 && std::isfinite(weights_[i]));
    scale_[i] = std::max(weights_[i], base / kLargeStep[i]);
    optimum_[i] = weights_[i] / scale_[i];
    information_[i][i] = kPriorInformation;
  }
}

StepTimeModel::Vector StepTimeModel::TermsOf(const StepShape& shape) {
  return {1.0,
          static_cast<double>(shape.chunk_tokens),
          static_cast<double>(shape.chunk_attended),
          static_cast<double>(shape.decode_rows),
          static_cast<double>(shape.decode_attended),
          static_cast<double>(shape.stream_rows)};
}

void StepTimeModel::Observe(const StepShape& shape, double seconds) {
  BRAID_CHECK(seconds > 0 && std::isfinite(seconds));
  const double error = (seconds - Predict(shape)) / seconds;
  ++observed_;
  streams_seen_ |= shape.stream_rows > 0;
  const double gain =
      std::max(kErrorGain, 1.0 / static_cast<double>(observed_));
  relative_error_ +=
      gain * (std::min(std::abs(error), kErrorMost) - relative_error_);
  // The prior knows how the terms relate; how fast the device is, the first
  // step tells.
  if (observed_ == 1) Calibrate(seconds / Predict(shape));
  LearnOverlap(shape, seconds);
  Learn(TermsOf(shape), Predict(shape), seconds, overlap_ * Hidden(shape));
  UpdateWeights();
}

// The gradient of the squared relative error; only steps in which the overlap
// is a good part count.
void StepTimeModel::LearnOverlap(const StepShape& shape, double seconds) {
  const double predicted = Predict(shape);
  const double share = Hidden(shape) / predicted;
  const double error = std::clamp((predicted - seconds) / predicted, -1.0, 1.0);
  overlap_ = std::clamp(overlap_ + kOverlapGain * share * error, 0.0, 1.0);
}

void StepTimeModel::Calibrate(double factor) {
  for (int i = 0; i < kTerms; ++i) {
    scale_[i] *= factor;
    weights_[i] *= factor;
  }
}

void StepTimeModel::Learn(const Vector& terms, double predicted, double seconds,
                          double hidden) {
  Vector direction;
  const auto set_direction = [&](double unit) {
    for (int i = 0; i < kTerms; ++i) direction[i] = terms[i] * scale_[i] / unit;
  };
  set_direction(predicted);
  Vector spread;
  BRAID_CHECK(Solve(information_, direction, kAll, spread));
  if (Dot(direction, spread) < 1) {
    seconds = std::clamp(seconds, predicted / kOutlier, predicted * kOutlier);
  }
  // Relative to what was predicted; but a step far faster than that would
  // hardly count, so then to what was seen.
  const double unit = std::min(predicted, 2 * seconds);
  set_direction(unit);

  const double bound = kOutlier - 1;
  const double error = std::clamp(
      (seconds - predicted) / std::min(seconds, predicted), -bound, bound);
  bias_ += kBiasGain * (error - bias_);
  const double unrest =
      std::min(kForgetMost, std::max(0.0, std::abs(bias_) - kCalmBias));
  for (int i = 0; i < kTerms; ++i) {
    for (double& entry : information_[i]) entry *= 1 - unrest;
    information_[i][i] += unrest * kPriorInformation;
  }

  // Forget along this direction alone, then add it.
  const Vector known = Times(information_, direction);
  const double amount = Dot(direction, known);
  double largest = 0;
  for (int i = 0; i < kTerms; ++i) {
    for (int j = 0; j < kTerms; ++j) {
      information_[i][j] +=
          direction[i] * direction[j] - kForget * known[i] * known[j] / amount;
    }
    largest = std::max(largest, information_[i][i]);
  }
  for (int i = 0; i < kTerms; ++i) information_[i][i] += kRidge * largest;
  Vector step;
  BRAID_CHECK(Solve(information_, direction, kAll, step));
  const double residual = (seconds + hidden) / unit - Dot(direction, optimum_);
  for (int i = 0; i < kTerms; ++i) optimum_[i] += step[i] * residual;
}

// The nearest point to the optimum, in the metric of what is known, where no
// term is negative. Its face is one of 64, so the best is found by looking; one
// of 32 before the first stream, whose term is apart from all others till then.
void StepTimeModel::UpdateWeights() {
  Vector best = optimum_;
  if (std::ranges::any_of(best, [](double x) { return x < 0; })) {
    const Vector target = Times(information_, optimum_);
    const unsigned faces = streams_seen_ ? kAll : kAll >> 1;
    double least = 0;  // of x'Ax/2 - x'b; at the origin it is 0
    best = {};
    if (!streams_seen_) best[kStreamTerm] = optimum_[kStreamTerm];
    for (unsigned mask = 1; mask < faces; ++mask) {
      Vector x;
      if (!Solve(information_, target, mask, x)) continue;
      if (std::ranges::any_of(x, [](double v) { return v < 0; })) continue;
      const double value = -Dot(x, target) / 2;
      if (value < least) {
        least = value;
        if (!streams_seen_) x[kStreamTerm] = optimum_[kStreamTerm];
        best = x;
      }
    }
  }
  for (int i = 0; i < kTerms; ++i) weights_[i] = best[i] * scale_[i];
}

uint32_t StepTimeModel::LargestChunk(const StepShape& shape, uint32_t before,
                                     uint32_t max, double budget,
                                     uint32_t streams) const {
  const auto fits = [&](uint32_t count) {
    StepShape grown = shape;
    for (uint32_t i = 0; i < streams; ++i) grown.AddChunk(before, count);
    return Predict(grown) <= budget;
  };
  if (max == 0 || !fits(1)) return 0;
  if (fits(max)) return max;
  // square/2 n^2 + linear n = room, solved so that nothing cancels: beyond the
  // tokens that hide behind the base, or among them.
  const double square = streams * weights_[2];
  const double linear = streams * weights_[1] + square * (before + 0.5);
  const double room = budget - Dot(weights_, TermsOf(shape));
  const auto solve = [&](double slope, double left) -> double {
    left = std::max(left, 0.0);
    const double divisor = slope + std::sqrt(slope * slope + 2 * square * left);
    return divisor > 0 ? 2 * left / divisor : max;
  };
  double root = solve(linear, room + overlap_ * weights_[0]);
  if (overlap_ > 0 &&
      weights_[1] * (shape.chunk_tokens + streams * root) < weights_[0]) {
    root = solve(linear - overlap_ * streams * weights_[1],
                 room + overlap_ * weights_[1] * shape.chunk_tokens);
  }
  // Predict rounds; its word is final. Between `low`, which fits, and `high`,
  // which does not, look beside the root first.
  uint32_t low = 1, high = max;
  const auto guess = static_cast<uint32_t>(
      std::clamp(root, 1.0, static_cast<double>(max - 1)));
  for (uint32_t near : {guess, guess + 1, guess - 1}) {
    if (near > low && near < high) (fits(near) ? low : high) = near;
  }
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace braid
