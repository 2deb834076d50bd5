// Best-of-n through the engine: each candidate's answer is that of a request of
// its own with its seed, the best complete one is told, and nothing that
// anybody else is told depends on them.
#include <algorithm>
#include <vector>

#include <gmock/gmock.h>

#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

using ::testing::Contains;

GenerateRequest Ask(uint32_t text, uint32_t tokens, uint32_t best_of) {
  GenerateRequest request{.prompt = FakePrompt(text, 20), .max_tokens = tokens};
  request.sampling.seed = 7;
  request.best_of = best_of;
  return request;
}

GenerateRequest Candidate(GenerateRequest request, uint32_t i) {
  request.sampling.seed += i;
  request.best_of = 1;
  return request;
}

// Of the answer that the request gets alone.
double CertaintyOf(GenerateRequest request) {
  const TokenId end = FakeTokenizer().vocabulary() - 1;
  const uint32_t tokens = ExpectedOf(request, 256).output_tokens;
  request.sampling.self_certainty = true;
  std::vector<TokenId> output;
  double sum = 0;
  while (output.size() < tokens) {
    const SampledToken token =
        FakeRunner::Next(request.prompt, output, request.sampling,
                         std::span(&end, 1), FakeTokenizer().vocabulary());
    output.push_back(token.token);
    sum += token.self_certainty;
  }
  return sum / tokens;
}

// What was told is the answer of the best candidate that was complete.
void CheckAnswer(const GenerateRequest& request, const RecordingSink& sink) {
  ASSERT_TRUE(sink.finished());
  const Outcome& outcome = *sink.outcome;
  ASSERT_TRUE(outcome.best_of.has_value());
  const BestOfReport& report = *outcome.best_of;
  EXPECT_EQ(report.asked, request.best_of);
  ASSERT_EQ(report.self_certainty.size(), request.best_of);
  uint32_t complete = 0, best = 0;
  for (uint32_t i = 0; i < request.best_of; ++i) {
    if (!report.self_certainty[i]) continue;
    ++complete;
    EXPECT_NEAR(*report.self_certainty[i], CertaintyOf(Candidate(request, i)),
                1e-6);
    if (*report.self_certainty[i] > *report.self_certainty[best]) best = i;
  }
  EXPECT_EQ(report.complete, complete);
  EXPECT_LE(report.complete, report.started);
  EXPECT_EQ(report.chosen, best);
  // The first is told as it comes, as if it were alone.
  const Expected first = ExpectedOf(Candidate(request, 0), 256);
  EXPECT_EQ(sink.ids(), first.ids);
  EXPECT_EQ(sink.text, first.text);
  const Expected chosen = ExpectedOf(Candidate(request, best), 256);
  EXPECT_EQ(outcome.reason, chosen.reason);
  EXPECT_EQ(outcome.output_tokens, chosen.output_tokens);
  EXPECT_EQ(outcome.matched_stop, chosen.matched_stop);
  ASSERT_EQ(report.answer.has_value(), best > 0);
  if (best == 0) return;
  EXPECT_EQ(report.answer->text, chosen.text);
  std::vector<TokenId> ids;
  for (const SampledToken& token : report.answer->tokens) {
    ids.push_back(token.token);
  }
  EXPECT_EQ(ids, chosen.ids);
}

struct Setting {
  SplitMode split;
  bool two_pools;
};
class EngineBestOfTest : public ::testing::TestWithParam<Setting> {
 protected:
  HarnessOptions Options() const {
    return {.split = GetParam().split,
            .two_pools = GetParam().two_pools,
            .blocks = 128};
  }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, EngineBestOfTest,
                         ::testing::Values(Setting{SplitMode::kOff, false},
                                           Setting{SplitMode::kOn, false},
                                           Setting{SplitMode::kOn, true},
                                           Setting{SplitMode::kAuto, true}));

TEST_P(EngineBestOfTest, TheBestAnswerIsTold) {
  Harness harness(Options());
  uint32_t others = 0;
  for (uint32_t text = 0; text < 8; ++text) {
    GenerateRequest request = Ask(text, 60, 4);
    request.sampling.ignore_eos = text % 2 == 0;
    if (text % 4 == 3) request.stop = {"ab", "h"};
    const auto sink = harness.Submit(request);
    harness.RunToRest();
    CheckAnswer(request, *sink);
    if (text % 2 == 0) {
      EXPECT_EQ(sink->outcome->best_of->complete, 4u) << "of equal length";
      EXPECT_EQ(sink->outcome->best_of->candidate_tokens, 240u);
    }
    others += sink->outcome->best_of->chosen > 0;
    harness.ExpectNothingHeld();
  }
  EXPECT_GT(others, 0u);
  const EngineStats stats = harness.loop().Snapshot();
  EXPECT_EQ(stats.best_of.requests, 8u);
  EXPECT_EQ(stats.best_of.chosen, others);
  EXPECT_EQ(stats.best_of.started,
            stats.best_of.completed + stats.best_of.dropped);
  EXPECT_EQ(stats.best_of.started, stats.candidates.started);
  EXPECT_GT(stats.best_of.completed, 12u);
}

// Whoever goes on from the answer that was told finds it in the prefix cache of
// the pool that decoded it, whichever candidate drew it.
TEST_P(EngineBestOfTest, TheNextTurnFindsTheAnswersKv) {
  Harness harness(Options());
  uint32_t others = 0;
  for (uint32_t text = 0; text < 8; ++text) {
    GenerateRequest request = Ask(100 + text, 60, 4);
    request.sampling.ignore_eos = true;
    RequestId id;
    const auto sink = harness.Submit(request, &id);
    harness.Turn();
    const Scheduler& scheduler = harness.loop().scheduler();
    const uint64_t seed = scheduler.Find(id)->prefix_seed;
    harness.RunToRest();
    const BestOfReport& report = *sink->outcome->best_of;
    others += report.chosen > 0;
    const Expected told = ExpectedOf(Candidate(request, report.chosen), 256);
    std::vector<TokenId> tokens = request.prompt;
    tokens.insert(tokens.end(), told.ids.begin(), told.ids.end());
    // The last token was never fed back.
    const auto full = static_cast<uint32_t>(tokens.size() - 1) /
                      scheduler.config().block_tokens;
    size_t known = 0;
    for (uint32_t i = 0; i < scheduler.pool_count(); ++i) {
      const PrefixMatch match = scheduler.index(PoolId(i)).Match(seed, tokens);
      known = std::max(known, match.blocks.size());
    }
    EXPECT_EQ(known, full) << "chosen " << report.chosen;
    GenerateRequest next = Ask(0, 5, 1);
    next.prompt = tokens;
    const auto follow_up = harness.Submit(next);
    harness.RunToRest();
    EXPECT_EQ(follow_up->text, ExpectedOf(next, 256).text);
    harness.ExpectNothingHeld();
  }
  EXPECT_GT(others, 0u);
}

TEST_P(EngineBestOfTest, OthersAreToldTheSameBesideThem) {
  Harness harness(Options());
  std::vector<GenerateRequest> requests;
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (uint32_t i = 0; i < 10; ++i) {
    requests.push_back(Ask(i % 3, 30, i % 2 == 0 ? 1 : 2 + i % 4));
    sinks.push_back(harness.Submit(requests.back()));
  }
  harness.RunToRest();
  for (uint32_t i = 0; i < requests.size(); ++i) {
    if (requests[i].best_of > 1) {
      CheckAnswer(requests[i], *sinks[i]);
    } else {
      EXPECT_FALSE(sinks[i]->outcome->best_of.has_value());
      EXPECT_EQ(sinks[i]->text, ExpectedOf(requests[i], 256).text);
    }
  }
}

// Candidates that would go on for long are not waited for longer than half of
// what the first answer took.
TEST(EngineBestOfTest, TheWaitIsBounded) {
  Harness harness({.split = SplitMode::kOff, .blocks = 128});
  uint32_t waited = 0;
  for (uint32_t text = 0; text < 20; ++text) {
    GenerateRequest request = Ask(text, 200, 4);
    if (text % 2 == 1) {
      request.deadline = harness.clock().Now() + std::chrono::milliseconds(70);
    }
    const auto sink = harness.Submit(request);
    harness.RunToRest();
    const Outcome& outcome = *sink->outcome;
    if (outcome.reason == FinishReason::kDeadline) {
      EXPECT_EQ(outcome.best_of->complete + 1, outcome.best_of->started);
      continue;
    }
    CheckAnswer(request, *sink);
    // The harness' steps take a millisecond each, and the first one prefills.
    const auto own = std::chrono::milliseconds(
        ExpectedOf(Candidate(request, 0), 256).output_tokens - 1);
    const Duration decoded = outcome.times.finished - outcome.times.first_token;
    EXPECT_GE(decoded, own);
    EXPECT_LE(decoded, own + own / 2 + std::chrono::milliseconds(2));
    if (request.deadline != kNever) {
      EXPECT_LT(outcome.times.finished, request.deadline);
    }
    waited += decoded > own + std::chrono::milliseconds(1);
  }
  EXPECT_GT(waited, 4u);
}

TEST(EngineBestOfTest, WhatCannotBeIsRefused) {
  Harness harness(
      {.split = SplitMode::kOff,
       .stream_sets = {
           {.id = 1, .streams = 2, .gain = {0, 0.1}, .fingerprint = 9}}});
  std::vector<GenerateRequest> wrong(4, Ask(0, 10, 2));
  wrong[0].best_of = 0;
  wrong[1].best_of = 9;
  wrong[2].sampling.temperature = 0;
  wrong[3].streams = {StreamMode::kAuto, 1, 2};
  for (const GenerateRequest& request : wrong) {
    EXPECT_EQ(harness.loop()
                  .Submit(request, std::make_shared<RecordingSink>())
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// A request that lingers has its answer, so the end of the engine is no reason
// to fail it.
TEST(EngineBestOfTest, StoppingKeepsAnAnswerThatIsThere) {
  for (uint32_t text = 0; text < 40; ++text) {
    Harness harness({.split = SplitMode::kOff, .blocks = 128});
    const GenerateRequest request = Ask(text, 200, 4);
    RequestId id;
    const auto sink = harness.Submit(request, &id);
    harness.Turn();
    for (int step = 0; step < 1000 && !sink->finished(); ++step) {
      const auto* known = harness.loop().scheduler().Find(id);
      if (known != nullptr && known->state == RequestState::kLingering) break;
      for (size_t i = 0; i < 2; ++i) {
        if (harness.runner(i).running()) harness.runner(i).Finish();
      }
      harness.clock().Move(std::chrono::milliseconds(1));
      harness.Turn();
    }
    if (sink->finished()) continue;
    harness.loop().Stop(harness.clock().Now());
    CheckAnswer(request, *sink);
    return;
  }
  FAIL() << "none lingers";
}

}  // namespace
}  // namespace braid
