#include "base/bounded_queue.h"

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace braid {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(BoundedQueueTest, RefusesWhenFullAndLeavesTheValue) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  auto kept = std::make_unique<int>(2);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  EXPECT_FALSE(queue.TryPush(std::move(kept)));
  ASSERT_NE(kept, nullptr);
  std::vector<std::unique_ptr<int>> out;
  queue.Drain(out, nanoseconds::zero());
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(queue.TryPush(std::move(kept)));
}

TEST(BoundedQueueTest, KeepsTheOrderOfEachProducer) {
  BoundedQueue<int> queue(10000);
  std::vector<std::thread> producers;
  for (int p = 0; p < 4; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < 1000; ++i) {
        while (!queue.TryPush(p * 1000 + i)) std::this_thread::yield();
      }
    });
  }
  std::vector<int> all, batch;
  while (all.size() < 4000) {
    queue.Drain(batch, seconds(10));
    all.insert(all.end(), batch.begin(), batch.end());
  }
  for (auto& t : producers) t.join();
  int next[4] = {};
  for (int v : all) EXPECT_EQ(v % 1000, next[v / 1000]++);
}

TEST(BoundedQueueTest, WakeEndsTheWait) {
  BoundedQueue<int> queue(1);
  queue.Wake();
  std::vector<int> out;
  queue.Drain(out, seconds(60));  // Returns at once, or the test times out.
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace braid
