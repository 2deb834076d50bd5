// Devices that are lost at every stage of a request and come back, and pairs of
// pools that damage what they carry.
#include <algorithm>

#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

GenerateRequest Long(uint32_t prompt = 70, uint32_t output = 10) {
  GenerateRequest request{.prompt = FakePrompt(1, prompt),
                          .max_tokens = output};
  request.sampling.ignore_eos = true;
  return request;
}

absl::Status Lost() { return absl::UnavailableError("lost by the test"); }

void ExpectUndisturbed(const RecordingSink& sink,
                       const GenerateRequest& request) {
  ASSERT_TRUE(sink.finished());
  const Expected expected = ExpectedOf(request, 256);
  EXPECT_EQ(sink.text, expected.text);
  EXPECT_EQ(sink.ids(), expected.ids);
  EXPECT_EQ(sink.outcome->reason, expected.reason) << sink.outcome->status;
}

// After `steps` steps of whichever device runs one, that which runs next is
// lost: in the first chunk, in the last, in decode.
class LossTest : public testing::TestWithParam<std::tuple<int, bool, bool>> {};

TEST_P(LossTest, IsNotNoticed) {
  const auto [steps, two_pools, split] = GetParam();
  Harness harness({.split = split ? SplitMode::kOn : SplitMode::kAuto,
                   .devices = 3,
                   .two_pools = two_pools});
  Rng rng(1);
  const GenerateRequest request = Long();
  const auto sink = harness.Submit(request);
  bool lost = false;
  for (int step = 0; !lost;) {
    harness.Turn();
    while (harness.transport().Step(rng)) {
    }
    harness.Turn();
    ASSERT_FALSE(sink->finished());
    for (size_t i = 0; i < 3; ++i) {
      if (!harness.runner(i).running()) continue;
      if (step++ == steps) {
        harness.runner(i).Finish(Lost());
        lost = true;
        break;
      }
      harness.runner(i).Finish();
    }
    harness.clock().Move(milliseconds(1));
  }
  harness.Turn();
  EXPECT_FALSE(sink->finished());
  EXPECT_EQ(harness.loop().Snapshot().requests_recomputed, 1u);
  harness.RunToRest();
  ExpectUndisturbed(*sink, request);
  EXPECT_EQ(sink->outcome->recomputed, 1u);
  harness.ExpectNothingHeld();
}

INSTANTIATE_TEST_SUITE_P(EveryStage, LossTest,
                         testing::Combine(testing::Range(0, 12),
                                          testing::Bool(), testing::Bool()));

// The prefill device dies when the KV is on its way, while another request is
// being computed there: what was sent is not waited for.
TEST(EngineFaultsTest, LostInTransfer) {
  Harness harness({.devices = 3, .two_pools = true, .chunk = 256});
  const GenerateRequest request = Long(60), other = Long(50, 4);
  const auto sink = harness.Submit(request);
  harness.Turn();
  harness.runner(0).Finish();
  const auto second = harness.Submit(other);
  harness.Turn();
  ASSERT_EQ(harness.loop().Snapshot().transferring, 1u);
  harness.runner(0).Finish(Lost());
  harness.Turn();
  EXPECT_EQ(harness.loop().Snapshot().transferring, 0u);
  harness.RunToRest();
  ExpectUndisturbed(*sink, request);
  ExpectUndisturbed(*second, other);
}

TEST(EngineFaultsTest, TheOnlyDeviceIsWaitedFor) {
  Harness harness({.split = SplitMode::kAuto, .devices = 1});
  const GenerateRequest request = Long();
  const auto sink = harness.Submit(request);
  harness.Turn();
  harness.runner(0).Finish();
  harness.Turn();
  harness.runner(0).Finish(Lost());
  harness.Turn();
  EXPECT_FALSE(harness.runner(0).running());
  EXPECT_FALSE(harness.loop().Snapshot().devices[0].up);
  EXPECT_EQ(harness.loop().NextDeadline(), harness.clock().Now() + seconds(1));
  harness.clock().Move(milliseconds(999));
  harness.Turn();
  EXPECT_FALSE(harness.runner(0).running());
  harness.clock().Move(milliseconds(1));
  harness.Turn();
  EXPECT_TRUE(harness.runner(0).running());
  EXPECT_TRUE(harness.loop().Snapshot().devices[0].up);
  EXPECT_EQ(harness.loop().NextDeadline(), kNever);
  harness.RunToRest();
  ExpectUndisturbed(*sink, request);
  // Time in the queue again is time in the queue.
  EXPECT_GE(sink->outcome->times[Stage::kQueue], seconds(1));
}

TEST(EngineFaultsTest, ARequestIsMovedTwiceAtMost) {
  Harness harness({.split = SplitMode::kAuto, .devices = 1});
  const auto sink = harness.Submit(Long());
  for (int i = 0; i < 3; ++i) {
    harness.Turn();
    ASSERT_TRUE(harness.runner(0).running());
    harness.runner(0).Finish(Lost());
    harness.Turn();
    EXPECT_EQ(sink->finished(), i == 2);
    // It is tried again later each time.
    EXPECT_EQ(harness.loop().NextDeadline(),
              harness.clock().Now() + seconds(1 << i));
    harness.clock().Move(seconds(1 << i));
  }
  EXPECT_EQ(sink->outcome->reason, FinishReason::kFailed);
  EXPECT_EQ(sink->outcome->status.code(), absl::StatusCode::kUnavailable);
  const auto next = harness.Submit(Long());
  harness.RunToRest();
  ExpectUndisturbed(*next, Long());
}

// Scores of a prompt that is computed twice are told once.
TEST(EngineFaultsTest, ScoresAreToldOnce) {
  for (int steps = 0; steps < 3; ++steps) {
    Harness harness({.devices = 2});
    GenerateRequest request = Long(70, 4);
    request.prompt_logprobs = 1;
    const auto sink = harness.Submit(request);
    for (int i = 0; i < steps; ++i) {
      harness.Turn();
      harness.runner(harness.runner(0).running() ? 0 : 1).Finish();
    }
    harness.Turn();
    harness.runner(harness.runner(0).running() ? 0 : 1).Finish(Lost());
    harness.clock().Move(seconds(2));
    harness.RunToRest();
    ExpectUndisturbed(*sink, request);
    ASSERT_TRUE(sink->scores.has_value());
    ASSERT_EQ(sink->scores->size(), 69u);
    for (size_t i = 0; i < 69; ++i) {
      EXPECT_EQ((*sink->scores)[i],
                FakeRunner::ScoreOf(std::span(request.prompt).first(i + 1),
                                    request.prompt[i + 1], 1));
    }
  }
}

TEST(EngineFaultsTest, CancelledWhileItsDeviceIsLost) {
  Harness harness({.split = SplitMode::kAuto, .devices = 1});
  RequestId id;
  const auto sink = harness.Submit(Long(), &id);
  harness.Turn();
  harness.loop().Cancel(id);
  harness.runner(0).Finish(Lost());
  harness.Turn();
  ASSERT_TRUE(sink->finished());
  EXPECT_EQ(sink->outcome->reason, FinishReason::kCancelled);
  harness.ExpectNothingHeld();
}

// Any other status is the step's trouble: the device goes on.
TEST(EngineFaultsTest, AStepThatFailsLosesNoDevice) {
  Harness harness({.split = SplitMode::kAuto, .devices = 1});
  const auto sink = harness.Submit(Long());
  harness.Turn();
  harness.runner(0).Finish(absl::InternalError("broken"));
  harness.Turn();
  EXPECT_EQ(sink->outcome->reason, FinishReason::kFailed);
  EXPECT_TRUE(harness.loop().Snapshot().devices[0].up);
}

TEST(EngineFaultsTest, APairWhoseChecksumDifferedIsAvoidedAndToldOf) {
  Harness harness({.two_pools = true});
  Rng rng(1);
  const GenerateRequest request = Long();
  const auto sink = harness.Submit(request);
  harness.transport().FailWith(absl::DataLossError("a checksum differed"));
  while (harness.loop().Snapshot().pairs_avoided == 0) {
    harness.Turn();
    harness.transport().Step(rng, 1.0);
    if (harness.runner(0).running()) harness.runner(0).Finish();
  }
  const EngineStats stats = harness.loop().Snapshot();
  EXPECT_EQ(stats.pairs_avoided, 1u);
  ASSERT_EQ(stats.avoided.size(), 1u);
  EXPECT_EQ(stats.avoided[0].from, PoolId(0));
  EXPECT_EQ(stats.avoided[0].to, PoolId(1));
  EXPECT_EQ(stats.avoided[0].until, harness.clock().Now() + seconds(1));
  harness.clock().Move(seconds(1));
  harness.Turn();
  EXPECT_TRUE(harness.loop().Snapshot().avoided.empty());
  harness.RunToRest();
  ExpectUndisturbed(*sink, request);
}

}  // namespace
}  // namespace braid
