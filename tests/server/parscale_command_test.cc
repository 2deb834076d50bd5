#include "server/parscale_command.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/parscale/generated_model.h"

namespace braid::server {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

// What a command wrote, and how it ended.
struct Outcome {
  int status;
  std::string out, err;
};
Outcome RunCommand(const std::vector<std::string>& args) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = RunParscale(args);
  return {status, testing::internal::GetCapturedStdout(),
          testing::internal::GetCapturedStderr()};
}

parscale::Case CaseOf(bool nested) {
  return {.name = "inspected",
          .nested = nested,
          .architecture = nested ? "llama" : "qwen2",
          .streams = 3,
          .prefix_tokens = 5,
          .smoothing = 0.1,
          .dtype = DType::kBF16,
          .hidden = 8,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 4,
          .ffn = 8,
          .layers = 2,
          .vocabulary = 11,
          .tied = true};
}

TEST(ParscaleCommandTest, InspectsAnAdapter) {
  SafetensorsBuilder file = MakeAdapter(CaseOf(true), std::string(64, 'a'));
  file.metadata["gain"] = "0,0.25,0.5";
  file.metadata["recipe"] = "by hand\x1b[31m";
  const std::string path = testing::TempDir() + "inspected.safetensors";
  file.Write(path);
  const Outcome outcome = RunCommand({"inspect", path});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(ContainsRegex("kind +nested"), ContainsRegex("streams +3"),
                    ContainsRegex("prefix tokens +5 of streams 1 to 2"),
                    ContainsRegex("smoothing +0.1"),
                    // 2 * 2 * 2 * 5 * 4 and 8 * 24 + 8 + 24 + 3
                    ContainsRegex("parameters +387 .prefixes 160, aggre"),
                    ContainsRegex("gain, nats +p=2 0.25   p=3 0.5"),
                    ContainsRegex("base sha256 +aaaaaaaa"),
                    ContainsRegex("base shape +hidden 8, layers 2, kv_heads 1"),
                    ContainsRegex("key layout +halves")));
  EXPECT_THAT(outcome.out,
              ContainsRegex("\nprefix_k stream 1 +BF16 +.2, 1, 5, "
                            "4. +-2.[0-9]+ +2.[0-9]+ +1.[0-9]+\n"));
  EXPECT_THAT(outcome.out, HasSubstr("by hand\\u001b[31m"));
}

TEST(ParscaleCommandTest, InspectsAPublishedFolder) {
  const std::string folder = testing::TempDir() + "inspected_folder";
  WriteModel(CaseOf(false), folder);
  const Outcome outcome = RunCommand({"inspect", folder});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(ContainsRegex("name +inspected_folder"),
                    ContainsRegex("kind +published"),
                    ContainsRegex("prefix tokens +5 of streams 0 to 2"),
                    ContainsRegex("gain, nats +not in the file"),
                    ContainsRegex("\nprefix_v stream 0 +BF16"),
                    ContainsRegex("\nw1 stream 2 +BF16 +.8, 8.")));
  std::filesystem::remove_all(folder);
}

TEST(ParscaleCommandTest, SaysWhatIsWrongAndEndsWithTwo) {
  const std::string plain = testing::TempDir() + "inspected_plain";
  WriteModel(CaseOf(true), plain);
  const std::string damaged = testing::TempDir() + "damaged.safetensors";
  std::ofstream(damaged) << "nonsense";
  const struct {
    std::vector<std::string> args;
    const char* message;
  } cases[] = {
      {{}, "parscale needs a mode"},
      {{"inspekt"}, "no mode 'inspekt'"},
      {{"inspect"}, "Usage: braid parscale inspect FILE"},
      {{"inspect", "a", "b"}, "Usage: braid parscale inspect FILE"},
      {{"inspect", "--all"}, "Usage: braid parscale inspect FILE"},
      {{"inspect", "/nowhere/a"}, "cannot open /nowhere/a"},
      {{"inspect", damaged}, "damaged.safetensors: corrupt safetensors file"},
      {{"inspect", plain}, "inspected_plain: a plain model without streams"},
      {{"inspect", plain + "/model.safetensors"}, "lacks \"format\""},
  };
  for (const auto& [args, message] : cases) {
    const Outcome outcome = RunCommand(args);
    EXPECT_EQ(outcome.status, 2) << message;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(message));
  }
  std::filesystem::remove_all(plain);
}

TEST(ParscaleCommandTest, HelpIsNoError) {
  EXPECT_THAT(RunCommand({"--help"}).out, HasSubstr("inspect FILE"));
  EXPECT_EQ(RunCommand({"--help"}).status, 0);
  EXPECT_THAT(RunCommand({"inspect", "--help"}).out, HasSubstr("Usage"));
  EXPECT_EQ(RunCommand({"inspect", "--help"}).status, 0);
}

}  // namespace
}  // namespace braid::server
