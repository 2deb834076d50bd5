#include "server/options.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace braid::server {
namespace {

TEST(OptionsTest, CommandLineBeatsEnvironment) {
  setenv("BRAID_MAX_QUEUED", "7", 1);
  setenv("BRAID_MAX_RUNNING", "9", 1);
  const auto parsed =
      ParseServeOptions({"--model", "x.gguf", "--max-queued", "8"});
  unsetenv("BRAID_MAX_QUEUED");
  unsetenv("BRAID_MAX_RUNNING");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto& options = std::get<ServeOptions>(*parsed);
  EXPECT_EQ(options.max_queued, 8u);
  EXPECT_EQ(options.max_running, 9u);
  EXPECT_EQ(options.model_name, "x");
}

TEST(OptionsTest, ListsAreOfOneSource) {
  const auto names = [](std::vector<std::string> args) {
    args.insert(args.end(), {"--model", "x.gguf"});
    const auto parsed = ParseServeOptions(args);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    std::string names;
    if (!parsed.ok()) return names;
    for (const ServiceClass& each : std::get<ServeOptions>(*parsed).classes) {
      names += each.name + " ";
    }
    return names;
  };
  EXPECT_EQ(names({}), "interactive batch ");
  EXPECT_EQ(names({"--class", "a:ttft=1s", "--class=b:ttft=2s"}), "a b ");
  setenv("BRAID_CLASS", "c:ttft=1s,tpot=9ms\nd", 1);
  EXPECT_EQ(names({}), "c d ");
  EXPECT_EQ(names({"--class", "a:ttft=1s"}), "a ");
  unsetenv("BRAID_CLASS");
}

TEST(OptionsTest, KeysAreNotRepeated) {
  const auto parsed = ParseServeOptions(
      {"--model", "x", "--api-key", "a=k", "--api-key", "b=k"});
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(OptionsTest, OneLineThatNamesTheFlag) {
  const auto message = [](std::vector<std::string> args) {
    args.insert(args.end(), {"--model", "x.gguf"});
    return std::string(ParseServeOptions(args).status().message());
  };
  EXPECT_EQ(message({"--http", "8000"}),
            "--http: '8000' is not HOST:PORT; write e.g. 127.0.0.1:8000");
  EXPECT_EQ(message({"--kv-memory", "lots"}),
            "--kv-memory: 'lots' is not a size; write e.g. 512MiB, 2GiB or "
            "1000000");
  for (const auto& bad : {"--nope", "--split=maybe", "--max-queued=0"}) {
    const std::string text = message({bad});
    EXPECT_FALSE(text.empty()) << bad;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace braid::server
