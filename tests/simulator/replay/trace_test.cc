#include "simulator/replay/trace.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace braid {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TraceTest : public ::testing::Test {
 protected:
  TraceTest()
      : folder_(
            std::filesystem::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directories(folder_);
  }
  ~TraceTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::string Error(const std::string& text) {
    const auto trace = ReadTrace(Write("bad", text), {});
    return trace.ok() ? "ok" : std::string(trace.status().message());
  }

  std::filesystem::path folder_;
};

constexpr char kTwoTurns[] =
    R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 9]}
{"timestamp": 3000, "input_length": 1025, "output_length": 6, "hash_ids": [7, 9, 4]}
)";

TEST_F(TraceTest, MooncakeChainsBecomeTokens) {
  const auto trace = ReadTrace(Write("t.jsonl", kTwoTurns), {});
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->requests.size(), 2u);
  EXPECT_EQ(trace->format, "mooncake");
  EXPECT_EQ(trace->requests[1].arrival, 3);
  EXPECT_EQ(trace->requests[1].output_tokens, 6u);
  EXPECT_EQ(trace->distinct_blocks, 3u);
  EXPECT_DOUBLE_EQ(trace->reuse, 2.0 / 5);
  std::vector<TokenId> first, second;
  FillPrompt(*trace, trace->requests[0], first);
  FillPrompt(*trace, trace->requests[1], second);
  ASSERT_EQ(first.size(), 600u);
  ASSERT_EQ(second.size(), 1025u);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), second.begin()));
  std::ranges::sort(second);
  EXPECT_EQ(std::ranges::adjacent_find(second), second.end())
      << "no two blocks share a token";
}

TEST_F(TraceTest, GzipIsTheSame) {
  const std::string path = folder_ / "t.jsonl.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, kTwoTurns, sizeof(kTwoTurns) - 1);
  gzclose(file);
  const auto trace = ReadTrace(path, {});
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->prompt_tokens, 1625u);
  // A truncated archive is an error, not a short trace.
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 12);
  EXPECT_FALSE(ReadTrace(path, {}).ok());
}

TEST_F(TraceTest, BadMooncakeLinesAreNamed) {
  const std::string good =
      R"({"timestamp": 9, "input_length": 1, "output_length": 1, "hash_ids": [1]})"
      "\n";
  EXPECT_THAT(Error(good + "{"), HasSubstr("bad:2: "));
  EXPECT_THAT(Error(good + R"({"timestamp": 10})"),
              HasSubstr("bad:2: \"input_length\" is missing"));
  EXPECT_THAT(
      Error(
          good +
          R"({"timestamp": 10, "input_length": 0, "output_length": 1, "hash_ids": []})"),
      HasSubstr("expected 1 to"));
  EXPECT_THAT(
      Error(
          good +
          R"({"timestamp": 10, "input_length": 513, "output_length": 1, "hash_ids": [1]})"),
      HasSubstr("513 prompt tokens make 2"));
  EXPECT_THAT(
      Error(
          good +
          R"({"timestamp": 8, "input_length": 1, "output_length": 1, "hash_ids": [1]})"),
      HasSubstr("earlier than"));
  EXPECT_THAT(
      Error(
          good +
          R"({"timestamp": 10, "input_length": 1, "output_length": 1, "hash_ids": ["x"]})"),
      HasSubstr("not a whole number"));
  EXPECT_THAT(Error(""), HasSubstr("neither JSON lines"));
  EXPECT_THAT(std::string(ReadTrace(folder_ / "none", {}).status().message()),
              HasSubstr("cannot open"));
}

TEST_F(TraceTest, Azure) {
  const auto trace =
      ReadTrace(Write("a.csv",
                      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                      "2023-12-31 23:59:59.6805900,374,44\r\n"
                      "2024-01-01 00:00:00.1805900,600,1\r\n"),
                {});
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->requests.size(), 2u);
  EXPECT_DOUBLE_EQ(trace->requests[1].arrival, 0.5);
  EXPECT_THAT(trace->BlocksOf(trace->requests[0]), ElementsAre(0));
  EXPECT_THAT(trace->BlocksOf(trace->requests[1]), ElementsAre(1, 2));
  EXPECT_EQ(trace->reuse, 0);

  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  EXPECT_THAT(Error(header + "2023-11-16 18:15:46,1\n"),
              HasSubstr("bad:2: has 2 fields"));
  EXPECT_THAT(Error(header + "yesterday,1,1\n"), HasSubstr("bad:2: TIMESTAMP"));
  EXPECT_THAT(Error(header + "2023-11-16 18:15:46,-1,1\n"),
              HasSubstr("ContextTokens \"-1\""));
  EXPECT_THAT(Error(header), HasSubstr("no requests"));
}

TEST_F(TraceTest, JitterStaysWithinTheTickAndKeepsTheOrder) {
  std::string text;
  for (int tick = 0; tick < 20; ++tick) {
    for (int i = 0; i < 5; ++i) {
      text += R"({"timestamp": )" + std::to_string(tick * 3000) +
              R"(, "input_length": 1, "output_length": 1, "hash_ids": [)" +
              std::to_string(tick * 5 + i) + "]}\n";
    }
  }
  const std::string path = Write("t.jsonl", text);
  const auto jittered = ReadTrace(path, {.jitter = true, .seed = 3});
  ASSERT_TRUE(jittered.ok());
  EXPECT_EQ(jittered->arrivals, "jittered, seed 3");
  double before = -1;
  for (size_t i = 0; i < jittered->requests.size(); ++i) {
    const double arrival = jittered->requests[i].arrival;
    EXPECT_GT(arrival, before);
    EXPECT_EQ(static_cast<size_t>(arrival / 3), i / 5);
    before = arrival;
  }
  const auto again = ReadTrace(path, {.jitter = true, .seed = 3});
  const auto other = ReadTrace(path, {.jitter = true, .seed = 4});
  EXPECT_EQ(again->requests[7].arrival, jittered->requests[7].arrival);
  EXPECT_NE(other->requests[7].arrival, jittered->requests[7].arrival);
  const auto faster = ReadTrace(path, {.scale = 2});
  EXPECT_EQ(faster->requests.back().arrival, 28.5);
}

TEST_F(TraceTest, ServeGenClientsAreRenewalProcesses) {
  // One client of 20/s for 500 s, silent for the next 500, one of 5/s.
  Write("chunk-0-trace.csv",
        "0,20,1,Gamma,1,0.05\n500,0,0,,,\n1000,20,1,Gamma,1,0.05\n");
  Write("chunk-0-dataset.json",
        R"({"0": {"input_tokens": "{100: 0.5, 300: 0.5}",)"
        R"( "output_tokens": "{7: 1.0}"}})");
  Write("chunk-1-trace.csv", "0,5,1,Weibull,1,0.2\n");
  Write("chunk-1-dataset.json",
        R"({"0": {"input_tokens": "{}", "output_tokens": "{}"},)"
        R"( "600": {"input_tokens": "{10: 1}", "output_tokens": "{3: 1}"}})");
  const auto trace = ReadTrace(folder_, {.seconds = 1000});
  ASSERT_TRUE(trace.ok()) << trace.status();
  double first = 0, second = 0, late_first = 0, prompt = 0;
  for (const TraceRequest& request : trace->requests) {
    if (request.output_tokens == 3) {
      ++second;
    } else {
      ++first;
      prompt += request.prompt_tokens;
      late_first += request.arrival > 500;
    }
  }
  // Poisson, as shape 1 makes it: within four standard deviations.
  EXPECT_NEAR(first, 10'000, 400);
  EXPECT_NEAR(second, 5'000, 283);
  EXPECT_EQ(late_first, 0);
  EXPECT_NEAR(prompt / first, 200, 4);
  // Scaled to a rate, all clients together.
  const auto slow = ReadTrace(folder_, {.seconds = 1000, .rate = 3});
  ASSERT_TRUE(slow.ok());
  EXPECT_NEAR(static_cast<double>(slow->requests.size()), 3'000, 220);

  Write("chunk-1-trace.csv", "0,5,1,Pareto,1,0.2\n");
  EXPECT_THAT(std::string(ReadTrace(folder_, {}).status().message()),
              HasSubstr("chunk-1-trace.csv:1: the family"));
}

TEST(CommittedTraceTest, AreWhatTheirReadmeSays) {
  const std::string folder = BRAID_SOURCE_DIR "/bench/traces/";
  const auto conversation =
      ReadTrace(folder + "conversation_trace.jsonl.gz", {});
  ASSERT_TRUE(conversation.ok()) << conversation.status();
  EXPECT_EQ(conversation->requests.size(), 12'031u);
  EXPECT_EQ(conversation->blocks.size(), 288'500u);
  EXPECT_EQ(conversation->distinct_blocks, 182'790u);
  EXPECT_NEAR(conversation->reuse, 0.366, 0.0005);
  const auto azure =
      ReadTrace(folder + "AzureLLMInferenceTrace_conv.csv.gz", {});
  ASSERT_TRUE(azure.ok()) << azure.status();
  EXPECT_EQ(azure->requests.size(), 19'366u);
  EXPECT_NEAR(azure->seconds() / 60, 58, 1);
}

}  // namespace
}  // namespace braid
