#include "simulator/replay/goodput_search.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace braid {
namespace {

// Attainment falls from 1 in a straight line, 0.1 per `slope` of scale.
SearchResult Search(double attainment, double full_until, int* runs) {
  const auto result = SearchGoodput(
      attainment, 0.02, [&](double scale) -> absl::StatusOr<SearchStep> {
        ++*runs;
        const double share =
            std::clamp(1 - (scale - full_until) / full_until, 0.0, 1.0);
        SearchStep step{.scale = scale, .attainment = share};
        step.cut_short = share < attainment;
        step.goodput = step.cut_short ? 0 : scale * share;
        return step;
      });
  EXPECT_TRUE(result.ok());
  return *result;
}

TEST(GoodputSearchTest, FindsTheKneeWithinItsPrecision) {
  for (double knee : {0.05, 0.4, 0.99, 1.3, 7.0, 40.0}) {
    int runs = 0;
    const SearchResult result = Search(0.9, knee, &runs);
    // 0.9 is reached up to 1.1 times the knee.
    EXPECT_LE(result.scale, knee * 1.1 * (1 + 1e-9)) << knee;
    EXPECT_GE(result.scale, knee * 1.1 / 1.021) << knee;
    EXPECT_NEAR(result.goodput, result.scale * (2 - result.scale / knee), 1e-9);
    EXPECT_LE(runs, 16);
  }
}

TEST(GoodputSearchTest, WhatNeverReachesItIsZero) {
  int runs = 0;
  const auto result = SearchGoodput(
      0.99, 0.02, [&](double scale) -> absl::StatusOr<SearchStep> {
        ++runs;
        return SearchStep{.scale = scale, .attainment = 0.98};
      });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->scale, 0);
  EXPECT_LE(runs, 8);
}

}  // namespace
}  // namespace braid
