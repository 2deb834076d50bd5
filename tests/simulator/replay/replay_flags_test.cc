#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulator/replay/replay_command.h"

namespace braid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> With(std::vector<std::string> more) {
  std::vector<std::string> args = {"--trace", "t", "--cluster=c", "--out", "o"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

std::string Error(const std::vector<std::string>& args) {
  const auto options = ParseReplayFlags(args);
  return options.ok() ? "ok" : std::string(options.status().message());
}

TEST(ReplayFlagsTest, ReadsThem) {
  const auto options = ParseReplayFlags(
      With({"--policy", "dynamo:overlap=2", "--scale", "1.5", "--jitter",
            "--minutes=2", "--layout", "6P2D", "--attainments", "0.8,0.95"}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->trace, "t");
  EXPECT_EQ(options->cluster, "c");
  EXPECT_EQ(options->policy.ToString(), "dynamo:overlap=2");
  EXPECT_EQ(options->arrivals.scale, 1.5);
  EXPECT_TRUE(options->arrivals.jitter);
  EXPECT_EQ(options->arrivals.seconds, 120);
  EXPECT_EQ(options->parscale, StreamMode::kOff);
  EXPECT_EQ(ParseReplayFlags(With({"--parscale", "auto"}))->parscale,
            StreamMode::kAuto);
  EXPECT_THAT(Error(With({"--parscale", "fixed"})),
              HasSubstr("expected auto or off"));
  EXPECT_EQ(options->layout, "6P2D");
  EXPECT_THAT(options->attainments, ElementsAre(0.8, 0.95));
  EXPECT_THAT(options->command, HasSubstr("braid simulate --trace t"));
}

TEST(ReplayFlagsTest, NamesWhatIsWrong) {
  EXPECT_THAT(Error({"--trace", "t"}), HasSubstr("--cluster is missing"));
  EXPECT_THAT(Error(With({"--sclae", "2"})), HasSubstr("unknown flag --sclae"));
  EXPECT_THAT(Error(With({"--scale"})), HasSubstr("--scale needs a value"));
  EXPECT_THAT(Error(With({"--scale", "fast"})), HasSubstr("\"fast\" is not"));
  EXPECT_THAT(Error(With({"--prefill-chunk", "1.5"})), HasSubstr("whole"));
  EXPECT_THAT(Error(With({"--policy", "best"})),
              HasSubstr("expected one of braid, round-robin"));
  EXPECT_THAT(Error(With({"--policy", "sticky:overlap=1"})),
              HasSubstr("it knows saturation, refuse"));
  EXPECT_THAT(Error(With({"--policy", "aggregated:router=mooncake"})),
              HasSubstr("expected round-robin"));
}

TEST(RunReplayTest, WritesItsReport) {
  const std::string folder = ::testing::TempDir() + "replay_command_test";
  auto options = ParseReplayFlags(
      {"--trace",
       BRAID_SOURCE_DIR "/bench/traces/arxiv_mooncake_trace_first1000.jsonl.gz",
       "--cluster", BRAID_SOURCE_DIR "/bench/clusters/h200x16_qwen3_32b.json",
       "--max-requests", "50", "--block-tokens", "512", "--out", folder});
  ASSERT_TRUE(options.ok()) << options.status();
  std::ostringstream out, err;
  EXPECT_EQ(RunReplay(*options, out, err, false), 0) << err.str();
  EXPECT_THAT(out.str(), HasSubstr("requests 50"));
  for (const char* name : {"result.json", "requests.csv", "report.html",
                           "latency-1.svg", "utilisation.svg", "load-1.svg"}) {
    EXPECT_TRUE(std::ifstream(folder + "/" + name).good()) << name;
  }
  options->trace = "nowhere";
  EXPECT_EQ(RunReplay(*options, out, err, false), 2);
  EXPECT_THAT(err.str(), HasSubstr("cannot open nowhere"));
}

}  // namespace
}  // namespace braid
