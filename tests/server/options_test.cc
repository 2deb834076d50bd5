#include "server/options.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
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

TEST(OptionsTest, WhatIsNoFlagIsNamed) {
  EXPECT_EQ(ParseServeOptions({"--prot", "80"}).status().message(),
            "unknown: --prot 80; `braid serve --help` lists the flags");
  EXPECT_EQ(ParseServeOptions({"--config", "/nope.ini"}).status().message(),
            "--config /nope.ini: there is no such file, or it may not be read; "
            "`braid serve --help` lists the flags");
}

TEST(OptionsTest, AConfigFileIsNamedWithWhatIsWrongInIt) {
  const std::string path = testing::TempDir() + "options_test.ini";
  const auto message = [&](const std::string& text) {
    std::ofstream(path) << text;
    const auto parsed = ParseServeOptions({"--config", path, "--model", "x"});
    const std::string all(parsed.status().message());
    return all.starts_with(path) ? all.substr(path.size()) : all;
  };
  constexpr char kHelp[] = "; `braid serve --help` lists the flags";
  EXPECT_EQ(message("prot=80\n"),
            std::string(": there is no flag named prot") + kHelp);
  EXPECT_EQ(message("[serve]\nmax-queued=8\n"),
            std::string(": [serve]: there are no sections; write lines such as "
                        "max-queued=1024 alone") +
                kHelp);
  EXPECT_EQ(message("config=other.ini\n"),
            std::string(": --config may not be set in a config file") + kHelp);
  // "1 to 1000000" or "[1 - 1000000]", by CLI11's version.
  EXPECT_THAT(message("max-queued=few\n"),
              testing::StartsWith(": --max-queued: few is not in the range "));
  EXPECT_EQ(message("grpc=8001\n"),
            ": --grpc: '8001' is not HOST:PORT; write e.g. 127.0.0.1:8000");
}

TEST(OptionsTest, AVariableIsNamedWithWhatIsWrongInIt) {
  const auto message = [](const std::vector<std::string>& args) {
    return std::string(ParseServeOptions(args).status().message());
  };
  setenv("BRAID_SPLIT", "maybe", 1);
  EXPECT_EQ(message({"--model", "x"}),
            "BRAID_SPLIT: --split: maybe is none of {auto,on,off}; `braid "
            "serve --help` lists the flags");
  unsetenv("BRAID_SPLIT");
  setenv("BRAID_KV_MEMORY", "lots", 1);
  EXPECT_EQ(message({"--model", "x"}),
            "BRAID_KV_MEMORY: --kv-memory: 'lots' is not a size; write e.g. "
            "512MiB, 2GiB or 1000000");
  EXPECT_EQ(message({"--model", "x", "--kv-memory", "few"}),
            "--kv-memory: 'few' is not a size; write e.g. 512MiB, 2GiB or "
            "1000000");
  unsetenv("BRAID_KV_MEMORY");
}

TEST(OptionsTest, VariablesOfNoFlagAreTold) {
  setenv("BRAID_MAX_RUNING", "8", 1);
  setenv("BRAID_MAX_RUNNING", "8", 1);
  // As Kubernetes sets them for a service of that name.
  setenv("BRAID_PORT", "tcp://10.0.0.1:80", 1);
  setenv("BRAID_PORT_80_TCP_ADDR", "10.0.0.1", 1);
  setenv("BRAID_SERVICE_HOST", "10.0.0.1", 1);
  const auto parsed = ParseServeOptions({"--model", "x"});
  for (const char* name :
       {"BRAID_MAX_RUNING", "BRAID_MAX_RUNNING", "BRAID_PORT",
        "BRAID_PORT_80_TCP_ADDR", "BRAID_SERVICE_HOST"}) {
    unsetenv(name);
  }
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(std::get<ServeOptions>(*parsed).unknown_variables,
            std::vector<std::string>{"BRAID_MAX_RUNING"});
}

TEST(OptionsTest, KeysAreNotRepeated) {
  const auto parsed = ParseServeOptions(
      {"--model", "x", "--api-key", "a=k", "--api-key", "b=k"});
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(OptionsTest, Parscale) {
  const auto parsed =
      ParseServeOptions({"--model", "x", "--parscale", "a.safetensors",
                         "--parscale-mode=auto", "--parscale-max", "3"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto& options = std::get<ServeOptions>(*parsed);
  EXPECT_EQ(options.parscale, "a.safetensors");
  EXPECT_EQ(options.parscale_mode, StreamMode::kAuto);
  EXPECT_EQ(options.parscale_max, 3u);
  const std::string text = ToConfigText(options);
  EXPECT_NE(text.find("parscale=\"a.safetensors\"\nparscale-mode=\"auto\"\n"
                      "parscale-max=3\n"),
            std::string::npos)
      << text;

  setenv("BRAID_PARSCALE_SET", "p2\np4", 1);
  const auto sets = ParseServeOptions({"--model", "x"});
  unsetenv("BRAID_PARSCALE_SET");
  ASSERT_TRUE(sets.ok()) << sets.status();
  EXPECT_EQ(std::get<ServeOptions>(*sets).parscale_sets,
            (std::vector<std::string>{"p2", "p4"}));
  EXPECT_EQ(std::get<ServeOptions>(*sets).parscale_mode, StreamMode::kOff);
  EXPECT_NE(ToConfigText(std::get<ServeOptions>(*sets))
                .find("parscale-set=[\"p2\", \"p4\"]\n"),
            std::string::npos);

  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{"--parscale", "a", "--parscale-set", "b"},
        {"--parscale-mode", "on"},
        {"--parscale-max", "0"},
        {"--parscale-max", "9"}}) {
    std::vector<std::string> args = {"--model", "x"};
    args.insert(args.end(), bad.begin(), bad.end());
    EXPECT_FALSE(ParseServeOptions(args).ok()) << bad.front();
  }
}

TEST(OptionsTest, AllowedOrigins) {
  const auto parsed = ParseServeOptions(
      {"--model", "x", "--allowed-origin", "https://a.example",
       "--allowed-origin=http://b.example:81"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_NE(ToConfigText(std::get<ServeOptions>(*parsed))
                .find("allowed-origin=[\"https://a.example\", "
                      "\"http://b.example:81\"]\n"),
            std::string::npos);
  EXPECT_EQ(ParseServeOptions({"--model", "x", "--allowed-origin", "a.example"})
                .status()
                .message(),
            "--allowed-origin: 'a.example' is not an origin; write e.g. "
            "https://chat.example.org, * for all, or none alone");
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
  EXPECT_EQ(ParseServeOptions({"--max-queued"}).status().message(),
            "--max-queued: a value is missing; `braid serve --help` lists the "
            "flags");
  EXPECT_EQ(message({"--static-roles=perhaps"}),
            "--static-roles: 'perhaps' is not true or false; `braid serve "
            "--help` lists the flags");
  for (const auto& bad : {"--nope", "--split=maybe", "--max-queued=0"}) {
    const std::string text = message({bad});
    EXPECT_FALSE(text.empty()) << bad;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace braid::server
