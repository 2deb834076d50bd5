#include "scheduler/link_time_model.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace braid {
namespace {

TEST(LinkTimeModelTest, BelievesAMillisecondAtFirst) {
  LinkTimeModel link;
  EXPECT_DOUBLE_EQ(link.Predict(0), 0.001);
  EXPECT_DOUBLE_EQ(link.Predict(100'000), 0.001);
}

TEST(LinkTimeModelTest, LearnsBothTerms) {
  LinkTimeModel link;
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    const auto tokens = static_cast<uint32_t>(rng.Uniform() * 8000);
    const double noise = 1 + 0.1 * (rng.Uniform() - 0.5);
    link.Observe(tokens, (0.002 + 5e-6 * tokens) * noise);
  }
  EXPECT_NEAR(link.latency(), 0.002, 0.0005);
  EXPECT_NEAR(link.seconds_per_token(), 5e-6, 2e-7);
}

// Of equal hand-overs nobody can tell which part grows with their size.
TEST(LinkTimeModelTest, EqualHandOversAreLatency) {
  LinkTimeModel link;
  for (int i = 0; i < 50; ++i) link.Observe(512, 0.004);
  EXPECT_NEAR(link.Predict(512), 0.004, 1e-9);
  EXPECT_NEAR(link.Predict(8192), 0.004, 1e-9);
}

TEST(LinkTimeModelTest, NeverNegative) {
  LinkTimeModel through_origin, falling;
  for (int i = 0; i < 50; ++i) {
    const uint32_t tokens = 100 + 100 * (i % 10);
    through_origin.Observe(tokens, 1e-6 * tokens * tokens / 1000);
    falling.Observe(tokens, 0.01 / tokens);
  }
  for (const LinkTimeModel* link : {&through_origin, &falling}) {
    EXPECT_GE(link->latency(), 0);
    EXPECT_GE(link->seconds_per_token(), 0);
  }
  EXPECT_EQ(through_origin.latency(), 0);
  EXPECT_EQ(falling.seconds_per_token(), 0);
}

// One stall of a second moves a link of a millisecond by a tenth of one; a link
// that has become ten times slower is believed within a hundred hand-overs.
TEST(LinkTimeModelTest, AStallIsNotLearnedAndAChangeIs) {
  LinkTimeModel link;
  const auto observe = [&](int i, double factor) {
    const uint32_t tokens = 256 * (1 + i % 7);
    link.Observe(tokens, factor * (0.0005 + 1e-6 * tokens));
  };
  for (int i = 0; i < 100; ++i) observe(i, 1);
  const double before = link.Predict(1024);
  link.Observe(1024, 1.0);
  EXPECT_LT(link.Predict(1024), before * 1.1);
  for (int i = 0; i < 150; ++i) observe(i, 10);
  EXPECT_NEAR(link.Predict(1024), 10 * (0.0005 + 1e-6 * 1024), 0.002);
}

}  // namespace
}  // namespace braid
