// PARSCALE streams through the engine: an answer's text is that of the streams
// that it tells of, token for token, and nothing of them is left behind.
#include <numeric>
#include <vector>

#include <gmock/gmock.h>

#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

using ::testing::Each;

HarnessOptions Nested(SplitMode split, bool two_pools) {
  return {.split = split,
          .two_pools = two_pools,
          .blocks = 128,
          .stream_sets = {NestedSet()}};
}

GenerateRequest Request(uint32_t text, uint32_t tokens, StreamTerms streams) {
  GenerateRequest request{.prompt = FakePrompt(text, 20), .max_tokens = tokens};
  request.sampling.ignore_eos = true;
  request.streams = streams;
  return request;
}

struct Setting {
  SplitMode split;
  bool two_pools;
};
class EngineStreamsTest : public ::testing::TestWithParam<Setting> {
 protected:
  HarnessOptions Options() const {
    return Nested(GetParam().split, GetParam().two_pools);
  }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, EngineStreamsTest,
                         ::testing::Values(Setting{SplitMode::kOff, false},
                                           Setting{SplitMode::kOn, false},
                                           Setting{SplitMode::kOn, true},
                                           Setting{SplitMode::kAuto, true}));

TEST_P(EngineStreamsTest, FixedIsFixedInACrowd) {
  Harness harness(Options());
  std::vector<GenerateRequest> requests;
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (uint32_t i = 0; i < 9; ++i) {
    const uint32_t p = 1 + i % 4;
    requests.push_back(Request(i % 3, 30,
                               i == 8 ? StreamTerms{StreamMode::kAuto, 1, 4}
                               : p == 1
                                   ? StreamTerms{}
                                   : StreamTerms{StreamMode::kFixed, 1, p}));
    sinks.push_back(harness.Submit(requests.back()));
  }
  harness.RunToRest();
  for (uint32_t i = 0; i < requests.size(); ++i) {
    const RecordingSink& sink = *sinks[i];
    ASSERT_TRUE(sink.finished());
    if (i < 8) {
      EXPECT_THAT(sink.streams, Each(1 + i % 4));
    }
    EXPECT_EQ(sink.ids(), ExpectedOf(requests[i], 256, sink.streams).ids);
    EXPECT_DOUBLE_EQ(
        sink.outcome->mean_streams,
        std::accumulate(sink.streams.begin(), sink.streams.end(), 0.0) / 30);
  }
}

TEST_P(EngineStreamsTest, AutoFillsRowsThatIdle) {
  Harness harness(Options());
  const GenerateRequest request = Request(1, 120, {StreamMode::kAuto, 1, 4});
  const auto sink = harness.Submit(request);
  harness.RunToRest();
  ASSERT_EQ(sink->streams.size(), 120u);
  EXPECT_EQ(sink->ids(), ExpectedOf(request, 256, sink->streams).ids);
  // The first token is prefill's own: of one stream.
  EXPECT_EQ(sink->streams.front(), 1u);
  EXPECT_GT(sink->outcome->mean_streams, 2);
  const EngineStats stats = harness.loop().Snapshot();
  EXPECT_GT(stats.streams.offered, 0u);
  EXPECT_GT(stats.streams.filled, 120u);
  EXPECT_LE(stats.streams.filled, stats.streams.offered);
  EXPECT_GT(stats.streams.gain, 0);
  EXPECT_EQ(stats.streams.active, 0u);
  EXPECT_EQ(stats.streams.blocks, 0u);
  uint64_t tokens = 0;
  for (const DeviceStats& device : stats.devices)
    tokens += device.stream_tokens;
  EXPECT_EQ(tokens, stats.streams.filled + stats.streams.caught_up);
}

// Who comes while a step runs does not wait for its streams: it answers without
// them, and its text says so. Nor for rows that streams have made later, where
// prompts have every core: they are computed again, and the text is the same.
TEST_P(EngineStreamsTest, ANewcomerShedsInMidStep) {
  Harness harness(Options());
  const GenerateRequest request = Request(1, 120, {StreamMode::kAuto, 1, 4});
  const auto sink = harness.Submit(request);
  Rng rng(1);
  const auto finish = [&] {
    for (uint32_t device = 0; device < 2; ++device) {
      FakeRunner& runner = harness.runner(device);
      if (runner.running()) runner.Finish();
    }
    harness.transport().Step(rng);
    harness.clock().Move(std::chrono::milliseconds(1));
    harness.Turn();
  };
  for (int i = 0; i < 100; ++i) {
    if (!sink->streams.empty() && sink->streams.back() == 4) break;
    finish();
  }
  ASSERT_EQ(sink->streams.back(), 4u);
  const size_t before = sink->streams.size();
  const auto newcomer = harness.Submit(Request(2, 5, {}));
  harness.Turn();
  finish();
  if (GetParam().split == SplitMode::kOn) {
    ASSERT_EQ(sink->streams.size(), before + 1);
    EXPECT_EQ(sink->streams.back(), 1u);
  } else {
    ASSERT_EQ(sink->streams.size(), before);
    EXPECT_TRUE(newcomer->tokens.empty());
    finish();
    EXPECT_EQ(newcomer->tokens.size(), 1u);  // Beside nobody.
    EXPECT_EQ(sink->streams.size(), before);
  }
  harness.RunToRest();
  EXPECT_EQ(sink->ids(), ExpectedOf(request, 256, sink->streams).ids);
  EXPECT_GT(sink->outcome->mean_streams, 2);
  const StreamStats stats = harness.loop().Snapshot().streams;
  EXPECT_EQ(stats.shed_in_flight, 1u);
  EXPECT_EQ(stats.pressures, 1u);
  EXPECT_EQ(stats.shed_steps, 0u);
  EXPECT_EQ(newcomer->tokens.size(), 5u);
}

TEST(EngineStreamsTest, RefusesMoreThanThereAre) {
  Harness harness(Nested(SplitMode::kOff, false));
  for (const StreamTerms terms : {StreamTerms{StreamMode::kFixed, 1, 5},
                                  StreamTerms{StreamMode::kAuto, 3, 2},
                                  StreamTerms{StreamMode::kAuto, 0, 2}}) {
    EXPECT_EQ(
        harness.loop()
            .Submit(Request(0, 5, terms), std::make_shared<RecordingSink>())
            .status()
            .code(),
        absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace braid
