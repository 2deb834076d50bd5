#include "cpu/event_count.h"

#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace braid::cpu {
namespace {

// What is written before an advance is seen behind it, whether the other side
// spins or sleeps. A lost wake-up hangs the test.
TEST(EventCount, HandsOverWhatWasWritten) {
  for (const int spin : {0, 5, 1000}) {
    const std::chrono::microseconds patience(spin);
    EventCount ping, pong;
    uint32_t message = 0;
    std::thread other([&] {
      for (uint32_t i = 0; i < 3000; ++i) {
        ping.Await(i, patience);
        ASSERT_EQ(message, i + 1);
        pong.Advance();
      }
    });
    for (uint32_t i = 0; i < 3000; ++i) {
      message = i + 1;
      ping.Advance();
      pong.Await(i, patience);
    }
    other.join();
  }
}

TEST(EventCount, WakesEverySleeper) {
  for (int round = 0; round < 200; ++round) {
    EventCount start;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back(
          [&] { start.Await(0, std::chrono::microseconds(0)); });
    }
    start.Advance();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(start.value(), 1u);
  }
}

TEST(EventCount, WhatIsPastIsNotWaitedFor) {
  EventCount count;
  count.Advance();
  count.Await(0, std::chrono::microseconds(0));
  count.Await(7, std::chrono::microseconds(0));
}

}  // namespace
}  // namespace braid::cpu
