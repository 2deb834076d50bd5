#include "scheduler/stream_allowance.h"

#include <cmath>

#include "gtest/gtest.h"

namespace braid {
namespace {

constexpr double kShare = 0.010;

// Newcomers that find rows with that chance, and whose prompts take 100 ms
// alone, `beside` more among rows.
StreamAllowance After(double chance, double beside, int requests = 2000) {
  StreamAllowance allowance(kShare);
  double met = 0;
  for (int i = 0; i < requests; ++i) {
    met += chance;
    const bool meets = met >= 1;
    if (meets) --met;
    allowance.Arrived(meets);
    allowance.FirstToken(meets ? 0.1 + beside : 0.1, 0.1);
    if (meets) allowance.Met(1, beside, 0.1);
  }
  return allowance;
}

// What the header says, added up over a second of steps.
double CostOf(const StreamAllowance& a, double plain, double extra,
              double rest) {
  const double steps = 1 / (plain + extra);
  return steps * a.chance_to_meet() *
         (rest * (extra * extra / 2 + plain * extra) + a.beside() * extra);
}

TEST(StreamAllowanceTest, NothingBeforeAnybodyCame) {
  EXPECT_EQ(StreamAllowance(kShare).Extra(0.01, 1, true), 0);
}

TEST(StreamAllowanceTest, SpendsTheShareOfTheFirstToken) {
  for (const double chance : {0.1, 0.25, 0.5, 0.9}) {
    for (const double beside : {0.0, 0.005, 0.080}) {
      const StreamAllowance a = After(chance, beside);
      EXPECT_NEAR(a.chance_to_meet(), chance, 0.05);
      EXPECT_NEAR(a.beside(), beside, 1e-9);
      for (const double plain : {0.002, 0.02}) {
        const double extra = a.Extra(plain, 1, false);
        EXPECT_GT(extra, 0);
        EXPECT_NEAR(CostOf(a, plain, extra, 1), kShare * a.first_token(), 1e-9);
      }
    }
  }
}

TEST(StreamAllowanceTest, MoreWhereLessIsLost) {
  const double plain = 0.003;
  const double often = After(0.5, 0.005).Extra(plain, 1, false);
  EXPECT_GT(After(0.1, 0.005).Extra(plain, 1, false), often);
  EXPECT_GT(After(0.5, 0.005).Extra(plain, 1, true), often);
  EXPECT_LT(After(0.5, 0.080).Extra(plain, 1, true), often);
  // Nobody is ever met: still not everything, for the next one may be.
  const double never = After(0, 0).Extra(plain, 1, false);
  EXPECT_GT(never, often);
  EXPECT_LT(never, 0.1);
}

TEST(StreamAllowanceTest, ACrowdBesideWhichPromptsTakeLongMayAddLess) {
  StreamAllowance a = After(0.5, 0.003);
  const double lone = a.Extra(0.003, 1, true);
  EXPECT_EQ(a.Extra(0.003, 3, true), lone);
  for (int i = 0; i < 400; ++i) a.Met(3, 0.020, 0.1);
  EXPECT_LT(a.Extra(0.003, 2, true), lone / 2);
  EXPECT_GT(a.Extra(0.003, 1, true), 0.7 * lone);
  EXPECT_EQ(a.Extra(0.003, 0, true), 0);
}

// However late a few are, the middle first token moves by a bounded amount.
TEST(StreamAllowanceTest, OneThatIsVeryLateCountsAsLate) {
  StreamAllowance late = After(0.5, 0.003), very_late = After(0.5, 0.003);
  late.Met(1, 1, 0.1);
  very_late.Met(1, 100, 0.1);
  EXPECT_EQ(late.beside(), very_late.beside());
  EXPECT_GT(late.beside(), 0.003);
}

// Of prompts from 8 ms to 8 s, whose geometric mean takes 250 ms.
TEST(StreamAllowanceTest, MeetingCostsWhatItCostsTheMiddlePrompt) {
  StreamAllowance constant(kShare), proportional(kShare);
  constant.FirstToken(100, 0.1);
  proportional.FirstToken(100, 0.1);
  for (int i = 0; i < 20000; ++i) {
    const double alone = std::exp(1.5 * std::sin(i)) / 4;
    constant.Met(1, 0.003, alone);
    proportional.Met(1, 0.8 * alone, alone);
  }
  EXPECT_NEAR(constant.beside(), 0.003, 1e-9);
  EXPECT_NEAR(proportional.beside(), 0.8 * 0.25, 0.02);
}

}  // namespace
}  // namespace braid
