#include "cpu/core_team.h"

#include <atomic>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace braid::cpu {
namespace {

// Each round every thread writes its cell, meets the others, and must see all
// cells of the round.
struct Rounds {
  SpinBarrier barrier;
  std::vector<int> cells;
  std::atomic<int> wrong{0};
  std::atomic<int> left{0};

  static void Work(void* context, int index) {
    auto* self = static_cast<Rounds*>(context);
    for (int round = 1; round <= 2000; ++round) {
      self->cells[index * 16] = round;
      self->barrier.Wait();
      for (size_t i = 0; i < self->cells.size(); i += 16) {
        if (self->cells[i] != round) ++self->wrong;
      }
      self->barrier.Wait();
    }
    --self->left;
    self->left.notify_all();
  }
};

void Await(std::atomic<int>& left) {
  for (int n = left.load(); n > 0; n = left.load()) left.wait(n);
}

TEST(CoreTeamTest, ThreadsMeetAtBarriers) {
  // More threads than this machine may have cores: they must still get there.
  auto threads = CoreThreads::Start({0, 1, 2, 3}, {.pin = false});
  ASSERT_TRUE(threads.ok());
  for (const int size : {1, 2, 4, 3}) {
    Rounds rounds;
    rounds.barrier.SetSize(size);
    rounds.cells.resize(size * 16);
    rounds.left = size;
    for (int i = 0; i < size; ++i) {
      (*threads)->Post(i, &Rounds::Work, &rounds, i);
    }
    Await(rounds.left);
    EXPECT_EQ(rounds.wrong, 0);
  }
}

TEST(CoreTeamTest, SleepingThreadsWakeForEveryPost) {
  auto threads = CoreThreads::Start(
      {0, 1}, {.pin = false, .spin = std::chrono::microseconds(0)});
  ASSERT_TRUE(threads.ok());
  for (int i = 0; i < 500; ++i) {
    std::atomic<int> left{2};
    const auto work = [](void* context, int) {
      auto* left = static_cast<std::atomic<int>*>(context);
      --*left;
      left->notify_all();
    };
    (*threads)->Post(0, work, &left, 0);
    (*threads)->Post(1, work, &left, 1);
    Await(left);
  }
}

TEST(CoreTeamTest, RefusesCoresItCannotHave) {
  EXPECT_THAT(std::string(CoreThreads::Start({0, 0}, {}).status().message()),
              testing::HasSubstr("core 0 is named twice"));
  EXPECT_THAT(std::string(CoreThreads::Start({1000}, {}).status().message()),
              testing::HasSubstr("core 1000 does not exist"));
  EXPECT_EQ(CoreThreads::Start({-1}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace braid::cpu
