#include "simulator/gpu/curve.h"

#include <cmath>

#include <gtest/gtest.h>

namespace braid::gpu {
namespace {

TEST(Curve, FollowsPowerLawsBetweenPoints) {
  // From (1, 2) to (4, 32) is y = 2 x^2; from there to (16, 64), y = 16 x^0.5.
  const Curve curve({1, 4, 16}, {2, 32, 64});
  EXPECT_DOUBLE_EQ(curve.At(1), 2);
  EXPECT_NEAR(curve.At(2), 8, 1e-12);
  EXPECT_NEAR(curve.At(4), 32, 1e-12);
  EXPECT_NEAR(curve.At(9), 48, 1e-12);
}

TEST(Curve, EndsAsItIsTold) {
  const Curve curve({8, 16}, {5, 10});
  EXPECT_NEAR(curve.At(1), 5, 1e-12);
  EXPECT_NEAR(curve.At(32, 0), 10, 1e-12);
  EXPECT_NEAR(curve.At(32, 1), 20, 1e-12);
  EXPECT_NEAR(curve.At(32, 2), 40, 1e-12);
}

TEST(Curve, LeavesOutWhatWasNotMeasured) {
  const double none = std::nan("");
  const Curve curve({1, 2, 4}, {3, none, 12});
  EXPECT_NEAR(curve.At(2), 6, 1e-12);
  EXPECT_TRUE(Curve({1, 2}, {none, none}).empty());
  EXPECT_TRUE(Curve().empty());
}

}  // namespace
}  // namespace braid::gpu
