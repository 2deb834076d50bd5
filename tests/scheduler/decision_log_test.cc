#include "scheduler/decision_log.h"

#include "gtest/gtest.h"

namespace braid {
namespace {

std::vector<uint64_t> Sequences(const std::vector<Decision>& decisions) {
  std::vector<uint64_t> out;
  for (const Decision& decision : decisions) out.push_back(decision.sequence);
  return out;
}

TEST(DecisionLogTest, KeepsTheLast) {
  DecisionLog log(3);
  EXPECT_TRUE(log.Since(0).empty());
  for (int i = 0; i < 2; ++i) log.Add({});
  EXPECT_EQ(Sequences(log.Since(0)), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(Sequences(log.Since(1)), (std::vector<uint64_t>{2}));
  for (int i = 0; i < 5; ++i) log.Add({});
  EXPECT_EQ(log.last_sequence(), 7u);
  EXPECT_EQ(Sequences(log.Since(0)), (std::vector<uint64_t>{5, 6, 7}));
  EXPECT_EQ(Sequences(log.Since(5)), (std::vector<uint64_t>{6, 7}));
  EXPECT_TRUE(log.Since(7).empty());
  // A reader that saw another process's numbers.
  EXPECT_TRUE(log.Since(70).empty());
  EXPECT_TRUE(log.Since(~uint64_t{0}).empty());
}

TEST(DecisionLogTest, ReadsWell) {
  const Decision placed{.sequence = 17,
                        .time = TimePoint(std::chrono::milliseconds(12031)),
                        .request = RequestId(3),
                        .prefill = DeviceId(0),
                        .decode = DeviceId(1),
                        .reason = "split-faster",
                        .predicted = 0.31};
  EXPECT_EQ(ToString(placed),
            "#17 12.031 s placed r3 d0>d1 split-faster 0.310 s, damage 0.000 "
            "s");
  Decision other = placed;
  other.reason = "queue-full";
  other.other = 1.5;
  other.kind = DecisionKind::kRefused;
  EXPECT_EQ(ToString(other),
            "#17 12.031 s refused r3 queue-full 0.310 s, retry after 1.500 s");
  other.kind = DecisionKind::kPreempted;
  other.reason = "blocks";
  EXPECT_EQ(ToString(other),
            "#17 12.031 s preempted r3 d0>d1 blocks 0.310 s, for 1.500 s");
  other = {.sequence = 1,
           .kind = DecisionKind::kDevice,
           .prefill = DeviceId(2),
           .reason = "lost"};
  EXPECT_EQ(ToString(other), "#1 0.000 s device d2 lost");
  other.kind = DecisionKind::kPair;
  other.decode = DeviceId(1);
  other.reason = "avoided";
  EXPECT_EQ(ToString(other), "#1 0.000 s pair d2>d1 avoided");
}

}  // namespace
}  // namespace braid
