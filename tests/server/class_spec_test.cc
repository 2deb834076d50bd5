#include "server/class_spec.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ClassSpecTest, OrderIsRank) {
  const auto classes = ParseServiceClasses(
      {"fast:ttft=500ms,tpot=50ms,queue=7", "slow:ttft=1.5m"}, 99);
  ASSERT_TRUE(classes.ok()) << classes.status();
  ASSERT_EQ(classes->size(), 2u);
  EXPECT_EQ((*classes)[0].name, "fast");
  EXPECT_EQ((*classes)[0].ttft, milliseconds(500));
  EXPECT_EQ((*classes)[0].tpot, milliseconds(50));
  EXPECT_EQ((*classes)[0].max_queued, 7u);
  EXPECT_EQ((*classes)[1].ttft, seconds(90));
  EXPECT_EQ((*classes)[1].tpot, DefaultServiceClasses()[0].tpot);
  EXPECT_EQ((*classes)[1].max_queued, 99u);
}

TEST(ClassSpecTest, DefaultsHaveTheQueuesTheyAreTold) {
  const auto classes = ParseServiceClasses({}, 5);
  ASSERT_TRUE(classes.ok());
  EXPECT_EQ(classes->size(), DefaultServiceClasses().size());
  for (const ServiceClass& each : *classes) EXPECT_EQ(each.max_queued, 5u);
}

TEST(ClassSpecTest, WhatIsPrintedIsTaken) {
  const std::vector<std::string> specs = {"a:ttft=1500ms,tpot=20ms,queue=3",
                                          "b-2.c:ttft=2ms,tpot=1ms,queue=1"};
  const auto classes = ParseServiceClasses(specs, 1);
  ASSERT_TRUE(classes.ok()) << classes.status();
  EXPECT_EQ(ToString((*classes)[0]), specs[0]);
  EXPECT_EQ(ToString((*classes)[1]), specs[1]);
}

TEST(ClassSpecTest, OneLineThatNamesTheFlag) {
  for (const char* bad :
       {"", ":ttft=1s", "a b:ttft=1s", "a:ttft=1", "a:ttft=0s", "a:ttft=-1s",
        "a:ttft=nans", "a:ttft=1e9s", "a:ttft=s", "a:queue=0", "a:queue=x",
        "a:queue=9999999", "a:tftt=1s", "a:ttft"}) {
    const absl::Status status = ParseServiceClasses({bad}, 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(status.message().substr(0, 7), "--class");
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  }
  EXPECT_FALSE(ParseServiceClasses({"a", "a"}, 1).ok());
  EXPECT_FALSE(ParseServiceClasses(std::vector<std::string>(17, "a"), 1).ok());
}

}  // namespace
}  // namespace braid::server
