#include "kvcache/reuse_model.h"

#include <algorithm>
#include <cmath>

namespace braid {
namespace {

// How many blocks' worth of observation the borrowed curve is.
constexpr double kScaleWeight = 20;    // of "as often as the common curve"
constexpr double kShapeWeight = 600;   // of "at the same ages"
constexpr double kCommonWeight = 1;    // of the prior of the common curve
constexpr double kHighestRate = 0.95;  // of one bucket
// What a class remembers, in blocks: beyond that, the old counts half.
constexpr double kMemory = 1 << 20;

using Table = std::array<double, ReuseModel::kBuckets + 1>;

// Where each bucket begins, and where the last one ends.
const Table kAges = [] {
  Table ages{};
  for (int i = 1; i <= ReuseModel::kBuckets; ++i) {
    ages[i] = i == 1 ? 1 : std::ldexp(i % 2 == 0 ? 1.0 : 1.5, i / 2);
  }
  return ages;
}();

// Before anything is known: the older, the less likely.
const Table kPriorRates = [] {
  Table rates{};
  for (int i = 0; i <= ReuseModel::kBuckets; ++i) {
    rates[i] = 0.3 * std::pow(0.93, i);
  }
  return rates;
}();

}  // namespace

ReuseModel::ReuseModel(int classes) : curves_(classes), scores_(classes) {
  Refit();
}

ReuseModel::Rates ReuseModel::CommonRates() const {
  Curve sum;
  double at_risk = 0;
  for (const Curve& curve : curves_) {
    for (int i = 0; i < kBuckets; ++i) {
      sum[i].reused += curve[i].reused;
      sum[i].lost += curve[i].lost + curve[i].waiting;
      at_risk += curve[i].left();
    }
  }
  Rates rates;
  for (int i = 0; i < kBuckets; ++i) {
    rates[i] = (sum[i].reused + kCommonWeight * kPriorRates[i]) /
               (at_risk + kCommonWeight);
    at_risk = std::max(0.0, at_risk - sum[i].left());
  }
  return rates;
}

ReuseModel::Rates ReuseModel::ClassRates(const Curve& curve,
                                         const Rates& common) {
  double blocks = 0;
  for (const Cell& cell : curve) blocks += cell.left();
  double at_risk = blocks, expected = 0, seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    expected += at_risk * common[i];
    seen += curve[i].reused;
    at_risk = std::max(0.0, at_risk - curve[i].left());
  }
  const double scale = (seen + kScaleWeight) / (expected + kScaleWeight);
  Rates rates;
  at_risk = blocks;
  for (int i = 0; i < kBuckets; ++i) {
    const double borrowed = std::min(kHighestRate, scale * common[i]);
    rates[i] =
        std::min(kHighestRate, (curve[i].reused + kShapeWeight * borrowed) /
                                   (at_risk + kShapeWeight));
    at_risk = std::max(0.0, at_risk - curve[i].left());
  }
  return rates;
}

// With H(t) = P(used again by t) and K(t) = E[time kept until then or until t],
// the score at age a is the steepest slope from (K(a), H(a)) to a later point
// of that curve: the first edge of the upper hull of what lies to its right.
ReuseModel::Scores ReuseModel::ScoresOf(const Rates& rates) {
  struct Point {
    double kept, hit;
  };
  std::array<Point, kBuckets + 1> curve;
  double alive = 1;
  curve[0] = {0, 0};
  for (int i = 0; i < kBuckets; ++i) {
    const double next = alive * (1 - rates[i]);
    const double width = kAges[i + 1] - kAges[i];
    curve[i + 1] = {curve[i].kept + width * (alive + next) / 2, 1 - next};
    alive = next;
  }
  const auto slope = [&](int from, int to) {
    return (curve[to].hit - curve[from].hit) /
           (curve[to].kept - curve[from].kept);
  };
  Scores scores;
  std::array<int, kBuckets + 1> hull;  // from the right; back is leftmost
  int size = 1;
  hull[0] = kBuckets;
  for (int i = kBuckets - 1; i >= 0; --i) {
    while (size > 1 &&
           slope(i, hull[size - 1]) <= slope(hull[size - 1], hull[size - 2])) {
      --size;
    }
    scores[i] = static_cast<float>(slope(i, hull[size - 1]));
    hull[size++] = i;
  }
  return scores;
}

void ReuseModel::Refit() {
  const Rates common = CommonRates();
  for (size_t i = 0; i < curves_.size(); ++i) {
    scores_[i] = ScoresOf(ClassRates(curves_[i], common));
    double blocks = 0;
    for (Cell& cell : curves_[i]) {
      cell.waiting = 0;
      blocks += cell.left();
    }
    if (blocks < kMemory) continue;
    for (Cell& cell : curves_[i]) {
      cell.reused /= 2;
      cell.lost /= 2;
    }
  }
}

}  // namespace braid
