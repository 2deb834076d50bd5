#include "scheduler/admission_queue.h"

#include <vector>

#include "gtest/gtest.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<ServiceClass> Classes() {
  return {{.name = "interactive", .ttft = seconds(2), .max_queued = 200},
          {.name = "batch", .ttft = seconds(60), .max_queued = 200}};
}

TimePoint At(double s) {
  return TimePoint(
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s)));
}

QueueEntry Entry(uint64_t id, double arrival, uint64_t tenant = 0) {
  return {.id = RequestId(id),
          .tenant = tenant,
          .arrival = At(arrival),
          .seconds = 0.1};
}

std::vector<uint64_t> Order(const AdmissionQueue& queue) {
  std::vector<uint64_t> ids;
  for (const QueueKey& key : queue) ids.push_back(key.id.value());
  return ids;
}

QueueKey Push(AdmissionQueue& queue, const QueueEntry& entry) {
  QueueKey key;
  EXPECT_TRUE(queue.Push(entry, &key));
  return key;
}

TEST(AdmissionQueueTest, DueThenPriorityThenArrival) {
  AdmissionQueue queue(Classes());
  QueueEntry batch = Entry(1, 0);
  batch.service_class = 1;
  Push(queue, batch);
  Push(queue, Entry(2, 10.01));
  QueueEntry urgent = Entry(3, 10.02);  // in the same slot of 250 ms
  urgent.priority = 1;
  Push(queue, urgent);
  Push(queue, Entry(4, 10.30));
  QueueEntry hurried = Entry(5, 10.31);
  hurried.deadline = At(11);
  Push(queue, hurried);
  EXPECT_EQ(Order(queue), (std::vector<uint64_t>{5, 3, 2, 4, 1}));
  // The batch request's turn comes.
  Push(queue, Entry(6, 59));
  EXPECT_EQ(Order(queue).back(), 6u);
}

TEST(AdmissionQueueTest, BoundsAndVictims) {
  AdmissionQueue queue({{.name = "a", .ttft = seconds(1), .max_queued = 1},
                        {.name = "b", .ttft = seconds(1), .max_queued = 2}});
  EXPECT_EQ(queue.Victim(0), nullptr);
  const QueueKey a = Push(queue, Entry(1, 0));
  QueueKey key;
  EXPECT_FALSE(queue.Push(Entry(2, 0), &key));
  EXPECT_EQ(queue.Victim(0), nullptr);
  QueueEntry b = Entry(3, 0);
  b.service_class = 1;
  Push(queue, b);
  b.id = RequestId(4);
  const QueueKey last = Push(queue, b);
  EXPECT_EQ(*queue.Victim(0), last);
  EXPECT_EQ(queue.Victim(1), nullptr);
  queue.Remove(a, true);
  // A preempted one comes back though its class is full.
  Push(queue, Entry(5, 0));
  queue.Restore(a, 0, 0);
  EXPECT_EQ(queue.size(0), 2u);
  EXPECT_EQ(queue.size(1), 2u);
  EXPECT_EQ(Order(queue).front(), 1u);
}

TEST(AdmissionQueueTest, AFloodDoesNotDelayAnothersRequest) {
  AdmissionQueue queue(Classes());
  for (uint64_t i = 1; i <= 100; ++i) Push(queue, Entry(i, 0, 7));
  for (uint64_t i = 1; i <= 40; ++i) queue.Remove(*queue.begin(), true);
  Push(queue, Entry(1000, 4, 8));
  const std::vector<uint64_t> order = Order(queue);
  EXPECT_LE(std::ranges::find(order, 1000u) - order.begin(), 2);
}

TEST(AdmissionQueueTest, TwoBurstsShare) {
  AdmissionQueue queue(Classes());
  for (uint64_t i = 0; i < 100; ++i) Push(queue, Entry(1 + i, 0, 7));
  for (uint64_t i = 0; i < 50; ++i) Push(queue, Entry(1001 + i, 0.01, 8));
  int ahead = 0;  // of those of 7 over those of 8
  for (int i = 0; i < 100; ++i) {
    const QueueKey key = *queue.begin();
    queue.Remove(key, true);
    ahead += key.id.value() < 1000 ? 1 : -1;
    EXPECT_LE(std::abs(ahead), 3) << i;
  }
}

}  // namespace
}  // namespace braid
