// Streams that a device with nothing to do computes for a request elsewhere:
// the text is that of the streams that it tells of, whatever happens to them on
// their way, and nothing of them is left behind.
#include <algorithm>

#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

using std::chrono::milliseconds;

constexpr uint32_t kContext = 256;

HarnessOptions Options(uint32_t blocks = 256) {
  return {.two_pools = true,
          .blocks = blocks,
          .block_tokens = 4,
          .chunk = 48,
          .max_context = kContext,
          .lend_cores = false,
          .stream_sets = {NestedSet()}};
}

GenerateRequest Request(uint32_t text, uint32_t tokens, StreamTerms streams) {
  GenerateRequest request{.prompt = FakePrompt(text, 100),
                          .max_tokens = tokens};
  request.sampling.ignore_eos = true;
  request.streams = streams;
  return request;
}
GenerateRequest Auto(uint32_t text, uint32_t tokens) {
  return Request(text, tokens, {StreamMode::kAuto, 1, 4});
}

void ExpectTold(const RecordingSink& sink, const GenerateRequest& request) {
  ASSERT_TRUE(sink.finished());
  EXPECT_EQ(sink.outcome->reason, FinishReason::kLength)
      << sink.outcome->status;
  EXPECT_EQ(sink.ids(), ExpectedOf(request, kContext, sink.streams).ids);
}

// Both devices know what steps take. The first of them computes prompts, the
// other one decodes.
class EngineCatchUpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t text = 10; text < 14; ++text) {
      harness_.Submit(Request(text, 10, {}));
      harness_.RunToRest();
    }
  }

  const Scheduler& scheduler() { return harness_.loop().scheduler(); }
  StreamStats stats() { return harness_.loop().Snapshot().streams; }

  // What runs ends, but for what is told to stay.
  void Step(bool prefill = true, bool transfers = true) {
    for (uint32_t device = prefill ? 0 : 1; device < 2; ++device) {
      FakeRunner& runner = harness_.runner(device);
      if (runner.running()) runner.Finish();
    }
    while (transfers && harness_.transport().Step(rng_)) {
    }
    harness_.clock().Move(milliseconds(1));
    harness_.Turn();
  }
  // A stream of the request is computed on device 0.
  void BeginCatchUp() {
    for (int i = 0; i < 20 && scheduler().catch_ups().empty(); ++i) Step();
    ASSERT_EQ(scheduler().catch_ups().size(), 1u);
    ASSERT_TRUE(harness_.runner(0).running());
  }
  // Its KV is on its way.
  void BeginSend() {
    BeginCatchUp();
    for (int i = 0; i < 20 && !IsSending(); ++i) Step(true, false);
    ASSERT_TRUE(IsSending());
  }
  bool IsSending() {
    return !scheduler().catch_ups().empty() &&
           scheduler().catch_ups()[0]->state == StreamCatchUp::State::kSending;
  }

  Rng rng_{1};
  Harness harness_{Options()};
};

TEST_F(EngineCatchUpTest, StreamsArriveAndAnswer) {
  const GenerateRequest request = Auto(1, 150);
  const auto sink = harness_.Submit(request);
  harness_.RunToRest();
  ExpectTold(*sink, request);
  EXPECT_EQ(sink->streams.front(), 1u);
  EXPECT_GT(*std::ranges::max_element(sink->streams), 1u);
  const StreamStats after = stats();
  EXPECT_GE(after.catch_ups, 1u);
  EXPECT_EQ(after.catch_ups_landed, after.catch_ups);
  EXPECT_EQ(after.catch_ups_given_up, 0u);
  // Whole blocks, from the prompt's 25 on.
  EXPECT_GE(after.caught_up_elsewhere, 100 * after.catch_ups);
  EXPECT_EQ(after.caught_up_elsewhere % 4, 0u);
  EXPECT_EQ(after.blocks, 0u);
}

// The second time, both pools know them.
TEST_F(EngineCatchUpTest, WhatThePoolsKnowIsNotComputedAgain) {
  StreamStats before;
  for (uint32_t last : {1, 2}) {
    before = stats();
    GenerateRequest request = Auto(1, 60);
    request.prompt.push_back(static_cast<TokenId>(last));
    const auto sink = harness_.Submit(request);
    harness_.RunToRest();
    ExpectTold(*sink, request);
    EXPECT_GT(sink->outcome->mean_streams, 1.5);
  }
  EXPECT_GT(before.catch_ups, 0u);
  EXPECT_EQ(stats().catch_ups, before.catch_ups);
  EXPECT_LT(stats().caught_up, before.caught_up + 100);
}

TEST_F(EngineCatchUpTest, ANewcomerDoesNotWaitForIt) {
  const GenerateRequest request = Auto(1, 150);
  const auto sink = harness_.Submit(request);
  BeginCatchUp();
  const GenerateRequest other = Request(2, 5, {});
  const auto newcomer = harness_.Submit(other);
  harness_.Turn();
  const uint64_t before = stats().caught_up_elsewhere;
  Step();
  EXPECT_EQ(stats().shed_in_flight, 1u);
  EXPECT_EQ(stats().caught_up_elsewhere, before);
  EXPECT_EQ(harness_.loop().Snapshot().prefilling, 1u);
  harness_.RunToRest();
  ExpectTold(*sink, request);
  ExpectTold(*newcomer, other);
}

TEST_F(EngineCatchUpTest, TheRequestEndsWhileItIsComputed) {
  RequestId id;
  const auto sink = harness_.Submit(Auto(1, 150), &id);
  BeginCatchUp();
  harness_.loop().Cancel(id);
  Step(/*prefill=*/false);
  ASSERT_TRUE(sink->finished());
  ASSERT_TRUE(harness_.runner(0).running());
  EXPECT_GT(harness_.Count(0, BlockState::kUsed), 0u);
  harness_.RunToRest();
  EXPECT_EQ(stats().catch_ups_given_up, 1u);
  harness_.ExpectNothingHeld();
}

// The transport keeps both ends' blocks until it says that it is done.
TEST_F(EngineCatchUpTest, TheRequestEndsWhileItIsSent) {
  RequestId id;
  const auto sink = harness_.Submit(Auto(1, 150), &id);
  BeginSend();
  harness_.loop().Cancel(id);
  Step(true, /*transfers=*/false);
  ASSERT_TRUE(sink->finished());
  EXPECT_TRUE(scheduler().catch_ups().empty());
  EXPECT_GT(harness_.Count(0, BlockState::kSending), 0u);
  harness_.RunToRest();
  harness_.ExpectNothingHeld();
}

// It catches up where it answers, then.
TEST_F(EngineCatchUpTest, DamagedOnItsWay) {
  harness_.transport().FailWith(absl::DataLossError("flipped by the test"));
  const GenerateRequest request = Auto(1, 150);
  const auto sink = harness_.Submit(request);
  BeginSend();
  harness_.transport().Step(rng_, /*failure_probability=*/1);
  harness_.Turn();
  EXPECT_EQ(stats().catch_ups_given_up, 1u);
  EXPECT_EQ(harness_.loop().Snapshot().pairs_avoided, 1u);
  harness_.RunToRest();
  ExpectTold(*sink, request);
  EXPECT_GT(*std::ranges::max_element(sink->streams), 1u);
}

TEST_F(EngineCatchUpTest, TheTransportTakesNoMore) {
  const GenerateRequest request = Auto(1, 150);
  const auto sink = harness_.Submit(request);
  BeginCatchUp();
  harness_.transport().RefuseOpens(1);
  harness_.RunToRest();
  ExpectTold(*sink, request);
  EXPECT_EQ(stats().catch_ups_given_up, 1u);
  EXPECT_GT(stats().catch_ups_landed, 0u);
}

TEST_F(EngineCatchUpTest, TheDeviceThatComputesItIsLost) {
  const GenerateRequest request = Auto(1, 150);
  const auto sink = harness_.Submit(request);
  BeginCatchUp();
  harness_.runner(0).Finish(absl::UnavailableError("lost by the test"));
  harness_.Turn();
  EXPECT_TRUE(scheduler().catch_ups().empty());
  EXPECT_EQ(stats().catch_ups_given_up, 1u);
  harness_.RunToRest();
  ExpectTold(*sink, request);
  EXPECT_EQ(sink->outcome->recomputed, 0u);
}

TEST_F(EngineCatchUpTest, TheDeviceThatItIsForIsLost) {
  const GenerateRequest request = Auto(1, 150);
  const auto sink = harness_.Submit(request);
  BeginSend();
  ASSERT_TRUE(harness_.runner(1).running());
  harness_.runner(1).Finish(absl::UnavailableError("lost by the test"));
  harness_.Turn();
  for (const auto& one : scheduler().catch_ups()) {
    EXPECT_EQ(one->state, StreamCatchUp::State::kOver);  // A step is at it.
  }
  harness_.RunToRest();
  ASSERT_TRUE(sink->finished());
  EXPECT_EQ(sink->outcome->recomputed, 1u);
  EXPECT_EQ(sink->ids(), ExpectedOf(request, kContext, sink->streams).ids);
}

// All of that at any time, in pools that are full more often than not.
TEST(EngineCatchUpRandomTest, TextIsThatOfItsStreams) {
  uint64_t landed = 0, given_up = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    Harness harness(Options(80 + static_cast<uint32_t>(rng.Below(120))));
    struct Submitted {
      RequestId id;
      GenerateRequest request;
      std::shared_ptr<RecordingSink> sink;
    };
    std::vector<Submitted> all;
    const bool faults = rng.Below(2) == 0;
    for (int i = 0; i < 400; ++i) {
      if (i < 40 ? i % 5 == 0 : rng.Below(30) == 0) {
        Submitted one{.request = Auto(static_cast<uint32_t>(rng.Below(30)),
                                      i < 40 ? 3 : 60)};
        one.sink = harness.Submit(one.request, &one.id);
        all.push_back(std::move(one));
      }
      if (faults && rng.Below(60) == 0) {
        harness.loop().Cancel(all[rng.Below(all.size())].id);
      }
      if (rng.Below(100) == 0) harness.transport().RefuseOpens(1);
      harness.Act(rng, faults ? 0.02 : 0, faults ? 0.01 : 0,
                  faults && i > 100 ? 0.005 : 0);
      harness.Turn();
    }
    harness.transport().RefuseOpens(0);
    harness.RunToRest();
    for (const Submitted& one : all) {
      ASSERT_TRUE(one.sink->finished());
      const std::vector<TokenId> ids = one.sink->ids();
      const std::vector<TokenId> expected =
          ExpectedOf(one.request, kContext, one.sink->streams).ids;
      ASSERT_LE(ids.size(), expected.size());
      EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin()));
    }
    const StreamStats stats = harness.loop().Snapshot().streams;
    EXPECT_EQ(stats.blocks, 0u);
    landed += stats.catch_ups_landed;
    given_up += stats.catch_ups_given_up;
  }
  EXPECT_GT(landed, 20u);
  EXPECT_GT(given_up, 20u);
}

}  // namespace
}  // namespace braid
