#include "base/rng.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

// First lines of the known-answer file of the Random123 distribution
// (philox4x32, 10 rounds): counter and key all zero, then all ones.
TEST(PhiloxTest, MatchesThePublishedVectorForZero) {
  const auto c = Philox(0, 0);
  EXPECT_EQ(c[0], 0x6627e8d5u);
  EXPECT_EQ(c[1], 0xe169c58du);
  EXPECT_EQ(c[2], 0xbc57ac4cu);
  EXPECT_EQ(c[3], 0x9b00dbd8u);
}

TEST(PhiloxTest, DependsOnSeedAndCounter) {
  EXPECT_NE(Philox(1, 0), Philox(0, 0));
  EXPECT_NE(Philox(0, 1), Philox(0, 0));
  EXPECT_NE(Philox(0, uint64_t{1} << 32), Philox(0, 0));
  EXPECT_NE(Philox(uint64_t{1} << 32, 0), Philox(0, 0));
  EXPECT_EQ(Philox(7, 9), Philox(7, 9));
}

TEST(RngTest, UniformStaysInRangeAndHasTheRightMean) {
  Rng rng(3);
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    const double u = rng.Uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
}

TEST(RngTest, BelowReachesEveryValueAndNoOther) {
  Rng rng(4);
  int seen[5] = {};
  for (int i = 0; i < 1000; ++i) ++seen[rng.Below(5)];
  for (int n : seen) EXPECT_GT(n, 100);
}

}  // namespace
}  // namespace braid
