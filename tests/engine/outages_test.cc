#include "engine/outages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const DeviceId kDevice(3);
const PoolId kFrom(0), kTo(1);

TEST(OutagesTest, BackoffDoublesUpToItsBound) {
  const Backoff backoff{seconds(1), seconds(10)};
  EXPECT_EQ(backoff.After(1), seconds(1));
  EXPECT_EQ(backoff.After(2), seconds(2));
  EXPECT_EQ(backoff.After(4), seconds(8));
  EXPECT_EQ(backoff.After(5), seconds(10));
  EXPECT_EQ(backoff.After(~0u), seconds(10));
}

TEST(OutagesTest, ADeviceIsTriedAgainLaterEachTime) {
  Outages outages;
  TimePoint now{seconds(100)};
  EXPECT_EQ(outages.Next(now), kNever);
  EXPECT_EQ(outages.DeviceLost(kDevice, now), now + seconds(1));
  EXPECT_EQ(outages.Next(now), now + seconds(1));
  EXPECT_THAT(outages.TakeDue(now), IsEmpty());
  now += seconds(1);
  EXPECT_THAT(outages.TakeDue(now), ElementsAre(kDevice));
  EXPECT_THAT(outages.TakeDue(now), IsEmpty());
  EXPECT_EQ(outages.Next(now), kNever);
  // It fails again before any step has gone well.
  EXPECT_EQ(outages.DeviceLost(kDevice, now), now + seconds(2));
  now += seconds(2);
  EXPECT_THAT(outages.TakeDue(now), ElementsAre(kDevice));
  outages.DeviceWorked(kDevice);
  EXPECT_EQ(outages.DeviceLost(kDevice, now), now + seconds(1));
}

TEST(OutagesTest, APairIsAvoidedForLongerEachTime) {
  Outages outages;
  TimePoint now{seconds(100)};
  EXPECT_EQ(outages.PairFailed(kFrom, kTo, now), now + seconds(1));
  // What was under way says nothing of what comes.
  outages.PairWorked(kFrom, kTo, now);
  EXPECT_EQ(outages.PairFailed(kFrom, kTo, now), now + seconds(2));
  EXPECT_EQ(outages.Next(now), now + seconds(2));
  EXPECT_EQ(outages.avoided(now).size(), 1u);
  now += seconds(2);
  EXPECT_THAT(outages.avoided(now), IsEmpty());
  EXPECT_EQ(outages.Next(now), kNever);
  outages.PairWorked(kTo, kFrom, now);  // Another one.
  EXPECT_EQ(outages.PairFailed(kFrom, kTo, now), now + seconds(4));
  now += seconds(4);
  outages.PairWorked(kFrom, kTo, now);
  EXPECT_EQ(outages.PairFailed(kFrom, kTo, now), now + seconds(1));
}

}  // namespace
}  // namespace braid
