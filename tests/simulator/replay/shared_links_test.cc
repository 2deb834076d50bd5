#include "simulator/replay/shared_links.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kGb = 1e9;

// Two nodes of two workers of one GPU; 100 GB/s within, 10 between.
ClusterSpec Cluster(double latency = 0) {
  ClusterSpec cluster;
  cluster.workers = {{.node = 0}, {.node = 0}, {.node = 1}, {.node = 1}};
  cluster.links = {
      .nvlink = 100 * kGb, .network = 10 * kGb, .latency = latency};
  return cluster;
}

std::vector<RequestId> Ended(SharedLinks& links, double now) {
  std::vector<RequestId> ended;
  links.TakeEnded(now, ended);
  return ended;
}

TEST(SharedLinksTest, AloneOnALink) {
  SharedLinks links(Cluster(0.001));
  links.Post(RequestId(1), 0, 1, 50 * kGb, true, 2);
  EXPECT_DOUBLE_EQ(links.NextEnd(), 2.501);
  EXPECT_THAT(Ended(links, 2.5), IsEmpty());
  EXPECT_THAT(Ended(links, 2.501), ElementsAre(RequestId(1)));
  EXPECT_TRUE(std::isinf(links.NextEnd()));
}

TEST(SharedLinksTest, TwoOutOfOnePortTakeTwiceAsLong) {
  SharedLinks links(Cluster());
  links.Post(RequestId(1), 0, 2, 10 * kGb, true, 0);
  links.Post(RequestId(2), 0, 3, 10 * kGb, true, 0);
  EXPECT_NEAR(links.NextEnd(), 2, 1e-9);
  // The second begins half-way: 1 s alone would have done for the first, of
  // which half is left; shared, that takes one more; then the other goes alone.
  SharedLinks late(Cluster());
  late.Post(RequestId(1), 0, 2, 10 * kGb, true, 0);
  late.Post(RequestId(2), 1, 2, 10 * kGb, true, 0.5);
  EXPECT_NEAR(late.NextEnd(), 1.5, 1e-9);
  EXPECT_THAT(Ended(late, 1.5), ElementsAre(RequestId(1)));
  EXPECT_NEAR(late.NextEnd(), 2, 1e-9);
}

TEST(SharedLinksTest, MaxMinGivesTheRestToWhoCanUseIt) {
  // 0>2 and 1>2 share 2's port, 5 each; 0>3 may have what 0's port has left.
  SharedLinks links(Cluster());
  links.Post(RequestId(1), 0, 2, 100 * kGb, true, 0);
  links.Post(RequestId(2), 1, 2, 100 * kGb, true, 0);
  links.Post(RequestId(3), 1, 3, 5 * kGb, true, 0);
  EXPECT_NEAR(links.NextEnd(), 1, 1e-9);
  EXPECT_THAT(Ended(links, 1), ElementsAre(RequestId(3)));
  // Different networks do not touch each other.
  links.Post(RequestId(4), 0, 1, 100 * kGb, true, 1);
  EXPECT_NEAR(links.NextEnd(), 2, 1e-9);
}

TEST(SharedLinksTest, BytesThatComeInPieces) {
  SharedLinks links(Cluster(0.01));
  // The first piece is long there when the last one is posted.
  links.Post(RequestId(1), 0, 2, 10 * kGb, false, 0);
  EXPECT_TRUE(std::isinf(links.NextEnd()));
  links.Post(RequestId(1), 0, 2, 1 * kGb, true, 5);
  EXPECT_NEAR(links.NextEnd(), 5.11, 1e-9);
  // Nothing but the end is left to be posted.
  links.Post(RequestId(2), 0, 1, 0, true, 5);
  EXPECT_NEAR(links.NextEnd(), 5.01, 1e-9);
  EXPECT_THAT(Ended(links, 5.01), ElementsAre(RequestId(2)));
}

TEST(SharedLinksTest, CancelGivesTheShareBack) {
  SharedLinks links(Cluster());
  links.Post(RequestId(1), 0, 2, 10 * kGb, true, 0);
  links.Post(RequestId(2), 0, 2, 10 * kGb, true, 0);
  links.Cancel(RequestId(2), 1);
  EXPECT_NEAR(links.NextEnd(), 1.5, 1e-9);
  EXPECT_THAT(Ended(links, 9), ElementsAre(RequestId(1)));
  EXPECT_DOUBLE_EQ(links.network_bytes(), 20 * kGb);
}

}  // namespace
}  // namespace braid
