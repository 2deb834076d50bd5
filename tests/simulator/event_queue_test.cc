#include "simulator/event_queue.h"

#include <vector>

#include <gtest/gtest.h>

#include "simulator/fair_link.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(EventQueueTest, RunsByTimeThenInTheOrderOfScheduling) {
  EventQueue queue;
  EventScope scope(queue);
  std::vector<int> order;
  scope.After(milliseconds(2), [&] { order.push_back(3); });
  scope.After(milliseconds(1), [&] {
    order.push_back(1);
    scope.After(milliseconds(0), [&] { order.push_back(2); });
  });
  scope.After(milliseconds(2), [&] { order.push_back(4); });
  const TimePoint start = queue.now();
  while (queue.RunNext()) continue;
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(queue.now() - start, milliseconds(2));
  EXPECT_EQ(queue.executed(), 4u);
}

TEST(EventQueueTest, WhatIsOverdueAfterAJumpRunsLate) {
  EventQueue queue;
  EventScope scope(queue);
  const TimePoint start = queue.now();
  TimePoint ran;
  scope.After(milliseconds(1), [&] { ran = queue.now(); });
  queue.Jump(seconds(1));
  EXPECT_TRUE(queue.RunNext());
  EXPECT_EQ(ran - start, seconds(1));
}

TEST(EventQueueTest, AScopeTakesItsEventsAlong) {
  EventQueue queue;
  EventScope scope(queue);
  bool ran = false;
  {
    EventScope other(queue);
    other.After(milliseconds(1), [&] { ran = true; });
    EXPECT_EQ(queue.pending(), 1u);
  }
  EXPECT_EQ(queue.pending(), 0u);
  EXPECT_FALSE(queue.RunNext());
  EXPECT_FALSE(ran);
}

TEST(VirtualClockTest, IsAheadOfTheQueueByItsJumps) {
  EventQueue queue;
  VirtualClock clock(queue);
  clock.Jump(seconds(3));
  EXPECT_EQ(clock.Now() - queue.now(), seconds(3));
  EXPECT_EQ(clock.QueueTime(clock.Now()), queue.now());
}

// 1000 bytes per second. A alone for 1 s, then A and B share.
TEST(FairLinkTest, FlowsShareEvenly) {
  EventQueue queue;
  EventScope scope(queue);
  FairLink link(queue, 1000);
  const TimePoint start = queue.now();
  double a = 0, b = 0, c = 0;
  const auto elapsed = [&] { return ToSeconds(queue.now() - start); };
  link.Send(2000, [&] { a = elapsed(); });
  scope.After(seconds(1), [&] { link.Send(500, [&] { b = elapsed(); }); });
  scope.After(seconds(10), [&] { link.Send(100, [&] { c = elapsed(); }); });
  while (queue.RunNext()) continue;
  // At 1 s A has 1000 left. B's 500 take 1 s at half speed; then A has 500
  // left for itself.
  EXPECT_NEAR(b, 2.0, 1e-6);
  EXPECT_NEAR(a, 2.5, 1e-6);
  EXPECT_NEAR(c, 10.1, 1e-6);
}

}  // namespace
}  // namespace braid
