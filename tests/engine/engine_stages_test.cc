// What happens at each stage of a request, step by step.
#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

using std::chrono::milliseconds;

GenerateRequest Long(uint32_t prompt = 70, uint32_t output = 10) {
  GenerateRequest request{.prompt = FakePrompt(1, prompt),
                          .max_tokens = output};
  request.sampling.ignore_eos = true;
  return request;
}

TEST(EngineStagesTest, OnlyTheLastLayersAreWaitedFor) {
  Harness harness({.two_pools = true, .chunk = 32});
  Rng rng(1);
  const auto sink = harness.Submit(Long(40));
  harness.Turn();
  EXPECT_EQ(harness.transport().pieces_posted(), 0u);
  harness.runner(0).Finish();  // 32 tokens: two whole blocks are final.
  harness.Turn();
  EXPECT_EQ(harness.transport().pieces_posted(), 1u);
  // The last chunk's block leaves a layer at a time.
  harness.runner(0).Advance(1);
  harness.Turn();
  EXPECT_EQ(harness.transport().pieces_posted(), 2u);
  harness.runner(0).Advance(3);  // Two layers' reports become one piece.
  harness.Turn();
  EXPECT_EQ(harness.transport().pieces_posted(), 3u);
  EXPECT_TRUE(sink->tokens.empty());
  EXPECT_EQ(harness.Count(0, BlockState::kSending), 3u);
  EXPECT_EQ(harness.Count(1, BlockState::kReserved), 4u);
  harness.runner(0).Finish();
  harness.Turn();
  EXPECT_EQ(harness.transport().pieces_posted(), 4u);
  // The first token is prefill's own, and does not wait for the transfer.
  EXPECT_EQ(sink->tokens.size(), 1u);
  EXPECT_FALSE(harness.runner(1).running());
  while (harness.transport().Step(rng)) {
  }
  harness.Turn();
  EXPECT_TRUE(harness.runner(1).running());
  EXPECT_EQ(harness.Count(0, BlockState::kSending), 0u);
  harness.RunToRest();
  EXPECT_TRUE(sink->outcome->split);
}

TEST(EngineStagesTest, ATransferMayArriveBeforeItsStepIsReported) {
  Harness harness({.two_pools = true});
  Rng rng(1);
  const auto sink = harness.Submit(Long(20));
  harness.Turn();
  harness.runner(0).Advance(4);
  harness.Turn();
  while (harness.transport().Step(rng)) {
  }
  harness.Turn();
  EXPECT_TRUE(sink->tokens.empty());
  harness.RunToRest();
  EXPECT_EQ(sink->text, ExpectedOf(Long(20), 256).text);
}

TEST(EngineStagesTest, StagesAreStampedAndSumToTheWallTime) {
  Harness harness({.two_pools = true, .chunk = 64});
  Rng rng(1);
  const auto blocker = harness.Submit(Long(60, 2));
  harness.Turn();
  const auto sink = harness.Submit(Long(60, 2));
  harness.clock().Move(milliseconds(5));
  harness.runner(0).Finish();
  harness.Turn();  // Admitted after 5 ms.
  harness.clock().Move(milliseconds(7));
  harness.runner(0).Finish();
  harness.Turn();  // Prefilled after 7 more.
  harness.clock().Move(milliseconds(11));
  while (harness.transport().Step(rng)) {
  }
  harness.Turn();  // Handed over after 11 more.
  harness.clock().Move(milliseconds(13));
  harness.runner(1).Finish();
  harness.Turn();
  ASSERT_TRUE(sink->finished());
  const StageTimes& t = sink->outcome->times;
  EXPECT_EQ(t[Stage::kQueue], milliseconds(5));
  EXPECT_EQ(t[Stage::kPrefill], milliseconds(7));
  EXPECT_EQ(t.first_token - t.received, milliseconds(12));
  EXPECT_EQ(t[Stage::kTransfer], milliseconds(11));
  EXPECT_EQ(t[Stage::kDecode], milliseconds(13));
  EXPECT_EQ(t.finished - t.received, milliseconds(36));
  EXPECT_TRUE(blocker->finished());
}

// Cancelling ends the request in the very turn, at whatever stage it is; its
// blocks are free once nothing works on them.
TEST(EngineStagesTest, CancelWhileItWaits) {
  Harness harness({.max_running = 1});
  const auto first = harness.Submit(Long());
  RequestId id;
  const auto second = harness.Submit(Long(), &id);
  harness.Turn();
  harness.clock().Move(milliseconds(3));
  harness.loop().Cancel(id);
  harness.Turn();
  ASSERT_TRUE(second->finished());
  EXPECT_EQ(second->outcome->reason, FinishReason::kCancelled);
  const StageTimes& t = second->outcome->times;
  EXPECT_EQ(t[Stage::kQueue], milliseconds(3));
  EXPECT_EQ(t.finished - t.received, milliseconds(3));
  harness.RunToRest();
  EXPECT_EQ(first->outcome->reason, FinishReason::kLength);
}

TEST(EngineStagesTest, CancelInPrefillKeepsTheBlocksOfTheStep) {
  Harness harness({.two_pools = true, .prefix_cache = false});
  RequestId id;
  const auto sink = harness.Submit(Long(20), &id);
  harness.Turn();
  harness.loop().Cancel(id);
  harness.Turn();
  EXPECT_TRUE(sink->finished());
  EXPECT_EQ(harness.Count(0, BlockState::kFree), 62u);  // The step's two.
  harness.runner(0).Finish();
  harness.Turn();
  EXPECT_EQ(harness.Count(0, BlockState::kFree), 64u);
}

TEST(EngineStagesTest, CancelInTransferKeepsWhatIsUnderLease) {
  Harness harness({.two_pools = true, .prefix_cache = false});
  Rng rng(1);
  RequestId id;
  const auto sink = harness.Submit(Long(20, 40), &id);
  harness.Turn();
  harness.runner(0).Finish();
  harness.Turn();
  harness.loop().Cancel(id);
  harness.Turn();
  EXPECT_TRUE(sink->finished());
  EXPECT_EQ(sink->tokens.size(), 1u);
  // A copy may still read two blocks and write two; the others are free.
  EXPECT_EQ(harness.Count(0, BlockState::kSending), 2u);
  EXPECT_EQ(harness.Count(0, BlockState::kFree), 62u);
  EXPECT_EQ(harness.Count(1, BlockState::kReserved), 2u);
  EXPECT_EQ(harness.Count(1, BlockState::kFree), 62u);
  EXPECT_FALSE(harness.loop().at_rest());
  while (harness.transport().Step(rng)) {
  }
  harness.Turn();
  EXPECT_TRUE(harness.loop().at_rest());
  EXPECT_EQ(harness.Count(0, BlockState::kFree), 64u);
  EXPECT_EQ(harness.Count(1, BlockState::kFree), 64u);
}

TEST(EngineStagesTest, CancelInDecode) {
  Harness harness({.prefix_cache = false});
  Rng rng(1);
  RequestId id;
  const auto sink = harness.Submit(Long(20, 40), &id);
  harness.Turn();
  harness.runner(0).Finish();
  harness.Turn();
  while (harness.transport().Step(rng)) {
  }
  harness.Turn();
  ASSERT_TRUE(harness.runner(1).running());
  harness.loop().Cancel(id);
  harness.loop().Cancel(id);
  harness.Turn();
  ASSERT_TRUE(sink->finished());
  harness.runner(1).Finish();
  harness.Turn();
  EXPECT_EQ(sink->tokens.size(), 1u);  // The step's token was nobody's.
  harness.loop().Cancel(id);           // Has ended: ignored.
  harness.loop().Cancel(RequestId(12345));
  harness.Turn();
}

TEST(EngineStagesTest, DeadlinesAreKept) {
  Harness harness({});
  GenerateRequest request = Long();
  request.deadline = harness.clock().Now() + milliseconds(10);
  const auto sink = harness.Submit(request);
  harness.Turn();
  EXPECT_EQ(harness.loop().NextDeadline(), request.deadline);
  harness.clock().Move(milliseconds(9));
  harness.Turn();
  EXPECT_FALSE(sink->finished());
  harness.clock().Move(milliseconds(1));
  harness.Turn();
  ASSERT_TRUE(sink->finished());
  EXPECT_EQ(sink->outcome->reason, FinishReason::kDeadline);
  EXPECT_EQ(harness.loop().NextDeadline(), kNever);
}

TEST(EngineStagesTest, ASlowReaderIsCancelledAndCounted) {
  Harness harness({});
  const auto slow = harness.Submit(Long(), nullptr, 3);
  const auto other = harness.Submit(Long());
  harness.RunToRest();
  EXPECT_EQ(slow->outcome->reason, FinishReason::kCancelled);
  EXPECT_EQ(slow->tokens.size(), 4u);
  EXPECT_EQ(other->outcome->reason, FinishReason::kLength);
  EXPECT_EQ(harness.loop().Snapshot().slow_readers, 1u);
}

TEST(EngineStagesTest, AFailedStepFailsItsRequestsAndTheEngineLives) {
  Harness harness({.two_pools = true});
  const auto failed = harness.Submit(Long());
  harness.Turn();
  harness.runner(0).Finish(absl::InternalError("out of order"));
  harness.Turn();
  ASSERT_TRUE(failed->finished());
  EXPECT_EQ(failed->outcome->reason, FinishReason::kFailed);
  EXPECT_EQ(failed->outcome->status.message(), "out of order");
  const auto next = harness.Submit(Long());
  harness.RunToRest();
  EXPECT_EQ(next->text, ExpectedOf(Long(), 256).text);
}

TEST(EngineStagesTest, ALostTransferIsNotNoticed) {
  Harness harness({.two_pools = true});
  Rng rng(1);
  const auto sink = harness.Submit(Long());
  while (sink->tokens.empty()) {
    harness.Turn();
    if (harness.runner(0).running()) harness.runner(0).Finish();
  }
  EXPECT_TRUE(harness.transport().Step(rng, /*failure_probability=*/1));
  harness.RunToRest();
  EXPECT_EQ(sink->text, ExpectedOf(Long(), 256).text);
  EXPECT_FALSE(sink->outcome->split);
  EXPECT_EQ(harness.transport().stats().transfers_failed, 1u);
}

TEST(EngineStagesTest, ATransportThatTakesNoMoreIsNotNoticed) {
  Harness harness({.two_pools = true});
  harness.transport().RefuseOpens(1);
  const auto sink = harness.Submit(Long());
  harness.RunToRest();
  EXPECT_EQ(sink->text, ExpectedOf(Long(), 256).text);
  EXPECT_FALSE(sink->outcome->split);
}

TEST(EngineStagesTest, WhatCannotRunIsRefused) {
  Harness harness({.blocks = 8, .max_inbox = 2});
  const auto code = [&](const GenerateRequest& request) {
    return harness.loop()
        .Submit(request, std::make_shared<RecordingSink>())
        .status()
        .code();
  };
  EXPECT_EQ(code({.max_tokens = 4}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Long(256)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Long(100, 60)), absl::StatusCode::kInvalidArgument);
  GenerateRequest of_no_class = Long();
  of_no_class.service_class = 1;
  EXPECT_EQ(code(of_no_class), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Long(10, 0)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.prompt = {-1}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.prompt = {9999}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Long()), absl::StatusCode::kOk);
  EXPECT_EQ(code(Long()), absl::StatusCode::kOk);
  EXPECT_EQ(code(Long()), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(harness.loop().Snapshot().requests_refused, 8u);
  harness.Turn();  // The loop has taken them.
  EXPECT_EQ(code(Long()), absl::StatusCode::kOk);
  harness.RunToRest();
}

TEST(EngineStagesTest, StopEndsEverything) {
  auto harness = std::make_unique<Harness>(HarnessOptions{.max_running = 1});
  const auto running = harness->Submit(Long());
  const auto waiting = harness->Submit(Long());
  harness->Turn();
  const auto in_mailbox = harness->Submit(Long());
  harness->loop().Stop(harness->clock().Now());
  for (const auto& sink : {running, waiting, in_mailbox}) {
    ASSERT_TRUE(sink->finished());
    EXPECT_EQ(sink->outcome->reason, FinishReason::kFailed);
    EXPECT_EQ(sink->outcome->status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(harness->loop()
                .Submit(Long(), std::make_shared<RecordingSink>())
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

TEST(EngineStagesTest, StatisticsAddUp) {
  Harness harness({.split = SplitMode::kOn, .two_pools = true});
  harness.Submit(Long(40, 5));
  harness.RunToRest();
  const EngineStats stats = harness.loop().Snapshot();
  EXPECT_EQ(stats.prompt_tokens, 40u);
  EXPECT_EQ(stats.output_tokens, 5u);
  EXPECT_EQ(stats.requests_split, 1u);
  ASSERT_EQ(stats.devices.size(), 2u);
  EXPECT_EQ(stats.devices[0].prefill_tokens, 40u);
  EXPECT_EQ(stats.devices[0].steps, 2u);
  EXPECT_EQ(stats.devices[0].lent_steps, 2u);
  EXPECT_EQ(stats.devices[1].decode_tokens, 4u);
  uint64_t between = 0, requests = 0;
  ASSERT_EQ(stats.classes.size(), 1u);
  const ClassStats& its_class = stats.classes[0];
  for (uint64_t n : its_class.inter_token_seconds.counts) between += n;
  for (uint64_t n : its_class.request_seconds.counts) requests += n;
  double stages = 0;
  for (const auto& stage : its_class.stage_seconds) stages += stage.sum;
  EXPECT_NEAR(stages, its_class.request_seconds.sum, 1e-9);
  EXPECT_EQ(its_class.queued, 0u);
  EXPECT_EQ(between, 4u);
  EXPECT_EQ(requests, 1u);
  EXPECT_EQ(stats.kv_blocks.size(), 2u);
}

}  // namespace
}  // namespace braid
