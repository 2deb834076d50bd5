#include "server/simulate_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class SimulateCommandTest : public ::testing::Test {
 protected:
  int Run(const std::vector<std::string>& args) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int status = RunSimulate(args);
    std::fflush(stdout);
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    return status;
  }
  std::string out_, err_;
};

TEST_F(SimulateCommandTest, EndsWithOneLine) {
  EXPECT_EQ(Run({"--seeds", "1:3", "--faults", "none", "--nodes", "1"}), 0);
  EXPECT_THAT(out_, ::testing::MatchesRegex(
                        "seeds 3 events [0-9]+ faults 0 violations 0\n"));
}

TEST_F(SimulateCommandTest, PrintsADigestPerSeed) {
  EXPECT_EQ(Run({"--seeds=4:5", "--digest", "--jobs", "2"}), 0);
  const std::string first = out_;
  EXPECT_THAT(first, HasSubstr("seed 4 digest "));
  EXPECT_EQ(Run({"--seeds=4:5", "--digest", "--jobs", "1"}), 0);
  EXPECT_EQ(out_, first);
}

TEST_F(SimulateCommandTest, SaysWhatIsWrongWithItsFlags) {
  EXPECT_EQ(Run({}), 2);
  EXPECT_THAT(err_, HasSubstr("--seeds FROM:TO"));
  EXPECT_EQ(Run({"--seeds", "5:3"}), 2);
  EXPECT_THAT(err_, HasSubstr("FROM:TO"));
  EXPECT_EQ(Run({"--seeds", "1:1", "--faults", "cancel,rain"}), 2);
  EXPECT_THAT(err_, HasSubstr("'rain'"));
  EXPECT_EQ(Run({"--seeds", "1:1", "--frobnicate"}), 2);
  EXPECT_THAT(err_, HasSubstr("--frobnicate"));
}

TEST_F(SimulateCommandTest, HelpNamesEveryFault) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_EQ(Run({"--seeds", "1:1", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("duplicate-completion"));
  EXPECT_THAT(out_, HasSubstr("--shrink"));
}

}  // namespace
}  // namespace braid::server
