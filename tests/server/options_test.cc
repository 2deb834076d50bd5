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
