#include "server/byte_size.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

TEST(ByteSizeTest, ReadsUnits) {
  EXPECT_EQ(*ParseByteSize("4096"), 4096u);
  EXPECT_EQ(*ParseByteSize("2GiB"), 2ull << 30);
  EXPECT_EQ(*ParseByteSize("1.5 kb"), 1500u);
  EXPECT_EQ(*ParseByteSize("1m"), 1u << 20);
  for (const char* bad : {"", "x", "1x", "GiB", "1.2.3", "-1", "1e30"}) {
    EXPECT_FALSE(ParseByteSize(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace braid::server
