#include "simulator/gpu/transfer_time.h"

#include <gtest/gtest.h>

#include "tests/simulator/gpu/test_profiles.h"

namespace braid::gpu {
namespace {

TEST(TransferSeconds, IsAStartAndABandwidth) {
  const auto small = TransferSeconds(TestProfiles(), "h100_sxm", 0);
  const auto large = TransferSeconds(TestProfiles(), "h100_sxm", 1'000'000'000);
  ASSERT_TRUE(small.ok() && large.ok());
  EXPECT_DOUBLE_EQ(*small, 18.5e-6);
  EXPECT_NEAR(*large, 18.5e-6 + 1 / 35.9, 1e-9);
  // B200's network is twice as fast.
  const auto faster =
      TransferSeconds(TestProfiles(), "b200_sxm", 1'000'000'000);
  ASSERT_TRUE(faster.ok());
  EXPECT_NEAR(*faster, 18.5e-6 + 1 / (2 * 35.9), 1e-9);
  EXPECT_FALSE(TransferSeconds(TestProfiles(), "tpu", 1).ok());
}

}  // namespace
}  // namespace braid::gpu
