#include "server/device_spec.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

const std::vector<int> kCores = {0, 1, 2, 3};

TEST(DeviceSpecTest, ReadsRangesAndLists) {
  const auto devices = ParseDevices("prefill=cpu:0+2,decode=cpu:1+3", kCores);
  ASSERT_TRUE(devices.ok()) << devices.status();
  EXPECT_EQ((*devices)[0].cores, (std::vector<int>{0, 2}));
  EXPECT_EQ((*devices)[1].role, DeviceRole::kDecode);
  EXPECT_EQ(ToString(*ParseDevices("cpu:0-3", kCores)), "cpu:0-3");
}

TEST(DeviceSpecTest, HalvesByDefault) {
  EXPECT_EQ(ToString(DefaultDevices(kCores)), "prefill=cpu:0-1,decode=cpu:2-3");
  EXPECT_EQ(ToString(DefaultDevices({5})), "cpu:5");
}

TEST(DeviceSpecTest, RefusesWithTheRemedy) {
  EXPECT_EQ(ParseDevices("prefill=cpu:0", kCores).status().message(),
            "--devices: no device would decode; add decode=cpu:... or drop the "
            "role");
  EXPECT_EQ(ParseDevices("cpu:9", kCores).status().message(),
            "--devices: this process may not run on core 9; it has cores 0-3");
  for (const char* bad : {"", "gpu:0", "cpu:", "cpu:1-0", "cpu:0,cpu:0"}) {
    EXPECT_FALSE(ParseDevices(bad, kCores).ok()) << bad;
  }
}

}  // namespace
}  // namespace braid::server
