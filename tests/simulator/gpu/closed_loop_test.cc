#include "simulator/gpu/closed_loop.h"

#include <initializer_list>

#include <gtest/gtest.h>

#include "tests/simulator/gpu/test_profiles.h"

namespace braid::gpu {
namespace {

const GpuStepTime& Worker() {
  static const GpuStepTime* const worker = [] {
    GpuServing serving;
    serving.model = "Qwen/Qwen3-32B";
    serving.system = "h200_sxm";
    serving.tensor_parallel = 2;
    return new GpuStepTime(*GpuStepTime::Load(TestProfiles(), serving));
  }();
  return *worker;
}

// Equal prompts and answers.
ClosedLoop LoopOf(uint32_t clients, uint32_t prompt, uint32_t answer) {
  ClosedLoop loop;
  loop.clients = clients;
  loop.prompt_tokens = prompt;
  loop.answer_tokens = answer;
  return loop;
}

double PromptStep(std::initializer_list<PromptChunk> chunks) {
  return Worker().Seconds(chunks, 0, 0);
}

// What the steps of one request take when it is alone.
double AloneDecode(uint32_t prompt, uint32_t answer) {
  double seconds = 0;
  for (uint32_t i = 1; i < answer; ++i) {
    seconds += Worker().Seconds({}, 1, prompt + i);
  }
  return seconds;
}

TEST(RunAggregated, OneClientIsTheSumOfItsSteps) {
  EngineHabits habits;
  habits.request_overhead = 0.003;
  ClosedLoop loop = LoopOf(1, 3000, 200);
  loop.first_token_steps = 2;
  const LoopResult result = RunAggregated(Worker(), habits, loop);
  EXPECT_NEAR(
      result.ttft,
      0.003 + PromptStep({{0, 3000}}) + 2 * Worker().Seconds({}, 1, 3000),
      1e-9);
  EXPECT_NEAR(result.tpot * 199, AloneDecode(3000, 200), 1e-4);
  EXPECT_EQ(result.waited_for_memory, 0);
}

TEST(RunAggregated, LongPromptsAreCutByTheBudget) {
  EngineHabits habits;
  habits.prompt_budget = 1024;
  ClosedLoop loop = LoopOf(1, 2500, 2);
  const LoopResult result = RunAggregated(Worker(), habits, loop);
  EXPECT_NEAR(result.ttft,
              PromptStep({{0, 1024}}) + PromptStep({{1024, 1024}}) +
                  PromptStep({{2048, 452}}),
              1e-9);
}

TEST(RunAggregated, AWholePromptWaitsForAStepOfItsOwn) {
  // Two clients and room for one prompt and a half.
  EngineHabits habits;
  habits.prompt_budget = 1500;
  habits.mixes = 0;
  ClosedLoop loop = LoopOf(2, 1000, 2);
  loop.rounds = 1;
  const double split = PromptStep({{0, 1000}, {0, 500}});
  EXPECT_NEAR(RunAggregated(Worker(), habits, loop).ttft,
              split + PromptStep({{500, 500}}) / 2, 1e-9);
  habits.whole_prompts = 1;
  EXPECT_NEAR(RunAggregated(Worker(), habits, loop).ttft,
              1.5 * PromptStep({{0, 1000}}), 1e-9);
  // It is split where nothing else would let it start.
  habits.prompt_budget = 600;
  loop.clients = 1;
  EXPECT_NEAR(RunAggregated(Worker(), habits, loop).ttft,
              PromptStep({{0, 600}}) + PromptStep({{600, 400}}), 1e-9);
}

TEST(RunAggregated, RowsThatRideAlongTakeOfTheBudget) {
  // The first row decodes while the second prompt runs, and takes one token of
  // its step: the prompt needs another for its last.
  EngineHabits habits;
  habits.prompt_budget = 1000;
  ClosedLoop loop = LoopOf(2, 1000, 100);
  loop.rounds = 1;
  const PromptChunk most{0, 999}, last{999, 1};
  const double first = PromptStep({{0, 1000}});
  const double second = Worker().Seconds({&most, 1}, 1, 1001) +
                        Worker().Seconds({&last, 1}, 1, 1002);
  EXPECT_NEAR(RunAggregated(Worker(), habits, loop).ttft, first + second / 2,
              1e-9);
}

TEST(RunAggregated, ClientsInLockStepQueueForEachOther) {
  // Prompts as long as the budget and decode that waits for prompts: client k
  // of every round has k prompts before its first token.
  EngineHabits habits;
  habits.prompt_budget = 4096;
  habits.mixes = 0;
  ClosedLoop loop = LoopOf(4, 4096, 50);
  const LoopResult result = RunAggregated(Worker(), habits, loop);
  EXPECT_NEAR(result.ttft, 2.5 * PromptStep({{0, 4096}}), 1e-6);
}

TEST(RunAggregated, JitterPartsRequestsThatWereSentTogether) {
  // Two clients in lock-step, and a step that takes both prompts.
  EngineHabits habits;
  habits.request_overhead = 1;
  ClosedLoop loop = LoopOf(2, 3000, 2);
  const double one = PromptStep({{0, 3000}});
  const double both = PromptStep({{0, 3000}, {0, 3000}});
  ASSERT_GT(both, 1.5 * one);
  EXPECT_NEAR(RunAggregated(Worker(), habits, loop).ttft, 1 + both, 1e-9);
  // With half a second either way few meet; on average it is no more overhead.
  habits.request_jitter = 0.5;
  loop.rounds = 1000;
  const double parted = RunAggregated(Worker(), habits, loop).ttft;
  EXPECT_NEAR(parted, 1 + one, 0.3 * one);
  EXPECT_EQ(RunAggregated(Worker(), habits, loop).ttft, parted);
}

TEST(RunAggregated, IsTheSameEveryTimeAndGrowsWithLoad) {
  const EngineHabits habits;
  double before = 0;
  for (uint32_t clients : {1u, 4u, 16u, 64u, 256u}) {
    ClosedLoop loop = LoopOf(clients, 1024, 1024);
    loop.shortest_prompt = loop.shortest_answer = 0.8;
    const LoopResult a = RunAggregated(Worker(), habits, loop);
    const LoopResult b = RunAggregated(Worker(), habits, loop);
    EXPECT_EQ(a.ttft, b.ttft);
    EXPECT_EQ(a.tpot, b.tpot);
    EXPECT_GT(a.tpot, before);
    before = a.tpot;
  }
}

TEST(RunAggregated, WhatDoesNotFitWaits) {
  const uint64_t twice = 2 * Worker().kv_capacity_tokens() / 2000;
  ClosedLoop loop = LoopOf(static_cast<uint32_t>(twice), 1000, 1000);
  loop.rounds = 1;
  const LoopResult result = RunAggregated(Worker(), EngineHabits(), loop);
  // Half of them wait for the other half's answers.
  EXPECT_GT(result.waited_for_memory, 0);
  EXPECT_GT(result.ttft, 999 * result.tpot * 0.3);
}

TEST(RunDisaggregated, OneClientIsTheSumOfItsSteps) {
  EngineHabits habits;
  habits.request_overhead = 0.003;
  ClosedLoop loop = LoopOf(1, 3000, 200);
  const DisaggregatedWorkers workers{Worker(), Worker(), 2, 3, 0.05};
  const LoopResult result = RunDisaggregated(workers, habits, loop);
  EXPECT_NEAR(result.ttft, 0.003 + PromptStep({{0, 3000}}), 1e-9);
  // The second token waits for the KV.
  EXPECT_NEAR(result.tpot * 199, 0.05 + AloneDecode(3000, 200), 1e-4);
}

TEST(RunDisaggregated, DecodeIsNotInterruptedByPrompts) {
  EngineHabits habits;
  ClosedLoop loop = LoopOf(48, 8192, 1024);
  loop.shortest_prompt = loop.shortest_answer = 0.8;
  const DisaggregatedWorkers workers{Worker(), Worker(), 2, 1, 0.01};
  const LoopResult split = RunDisaggregated(workers, habits, loop);
  const LoopResult together = RunAggregated(Worker(), habits, loop);
  EXPECT_LT(split.tpot, together.tpot);
  const LoopResult again = RunDisaggregated(workers, habits, loop);
  EXPECT_EQ(split.ttft, again.ttft);
  EXPECT_EQ(split.tpot, again.tpot);
}

}  // namespace
}  // namespace braid::gpu
