#include "scheduler/stream_allowance.h"

#include <cmath>

#include "gtest/gtest.h"

namespace braid {
namespace {

// Newcomers that find rows with that chance, and whose prompts take 100 ms
// alone, `beside` more among rows.
StreamAllowance After(double chance, double beside, int requests = 2000) {
  StreamAllowance allowance;
  double met = 0;
  for (int i = 0; i < requests; ++i) {
    met += chance;
    const bool meets = met >= 1;
    if (meets) --met;
    allowance.Arrived(meets);
    allowance.FirstToken(meets ? 0.1 + beside : 0.1, 0.1, meets, true);
  }
  return allowance;
}

// What the header says, added up over a second of steps.
double CostOf(const StreamAllowance& a, double plain, double extra,
              double rest) {
  const double steps = 1 / (plain + extra);
  return steps * a.chance_to_meet() *
         (rest * (extra * extra / 2 + plain * extra) +
          a.beside() * extra);
}

TEST(StreamAllowanceTest, NothingBeforeAnybodyCame) {
  EXPECT_EQ(StreamAllowance().Extra(0.01, true), 0);
}

TEST(StreamAllowanceTest, SpendsTheShareOfTheFirstToken) {
  for (const double chance : {0.1, 0.25, 0.5, 0.9}) {
    for (const double beside : {0.0, 0.005, 0.080}) {
      const StreamAllowance a = After(chance, beside);
      EXPECT_NEAR(a.chance_to_meet(), chance, 0.05);
      EXPECT_NEAR(a.beside(), a.first_token() * beside / 0.1, 1e-4);
      for (const double plain : {0.002, 0.02}) {
        const double extra = a.Extra(plain, false);
        EXPECT_GT(extra, 0);
        EXPECT_NEAR(CostOf(a, plain, extra, 1), 0.012 * a.first_token(), 1e-9);
      }
    }
  }
}

TEST(StreamAllowanceTest, MoreWhereLessIsLost) {
  const double plain = 0.003;
  const double often = After(0.5, 0.005).Extra(plain, false);
  EXPECT_GT(After(0.1, 0.005).Extra(plain, false), often);
  EXPECT_GT(After(0.5, 0.005).Extra(plain, true), often);
  EXPECT_LT(After(0.5, 0.080).Extra(plain, true), often);
  // Nobody is ever met: still not everything, for the next one may be.
  const double never = After(0, 0).Extra(plain, false);
  EXPECT_GT(never, often);
  EXPECT_LT(never, 0.1);
}

TEST(StreamAllowanceTest, WhoStoodInLineTellsNothingOfRows) {
  StreamAllowance allowance = After(0.5, 0);
  for (int i = 0; i < 100; ++i) {
    allowance.Arrived(true);
    allowance.FirstToken(1, 0.1, true, /*compare=*/false);
  }
  EXPECT_EQ(allowance.beside(), 0);
}

}  // namespace
}  // namespace braid
