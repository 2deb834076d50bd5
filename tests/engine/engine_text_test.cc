// The text of a request is the same however it is served: split or not, moved
// or not, in chunks of any size, alone or in a crowd, cached or not.
#include "tests/engine/engine_fixture.h"

namespace braid {
namespace {

void ExpectUndisturbed(const GenerateRequest& request,
                       const RecordingSink& sink, uint32_t max_context) {
  const Expected expected = ExpectedOf(request, max_context);
  ASSERT_TRUE(sink.finished());
  EXPECT_EQ(sink.ids(), expected.ids);
  EXPECT_EQ(sink.text, expected.text);
  EXPECT_EQ(sink.outcome->reason, expected.reason);
  EXPECT_EQ(sink.outcome->matched_stop, expected.matched_stop);
  EXPECT_EQ(sink.outcome->output_tokens, expected.output_tokens);
  EXPECT_EQ(sink.outcome->prompt_tokens, request.prompt.size());
  EXPECT_TRUE(sink.outcome->status.ok());
}

GenerateRequest RandomRequest(Rng& rng, uint32_t max_context) {
  GenerateRequest request;
  request.max_tokens = 1 + static_cast<uint32_t>(rng.Below(60));
  const auto most =
      std::max<uint64_t>(1, (max_context - 1) / (rng.Below(3) == 0 ? 1 : 4));
  request.prompt = FakePrompt(static_cast<uint32_t>(rng.Below(4)),
                              1 + static_cast<uint32_t>(rng.Below(most)));
  request.sampling.seed = rng.Below(3);
  request.sampling.ignore_eos = rng.Below(2) == 0;
  if (rng.Below(4) == 0) request.stop = {"abc", "ca", "hhh", "gac"};
  request.include_stop_in_text = rng.Below(2) == 0;
  return request;
}

struct Case {
  SplitMode split;
  int devices;
  bool two_pools;
  uint32_t chunk;
  bool prefix_cache;
};

TEST(EngineTextTest, IsTheSameHoweverItIsServed) {
  std::vector<Case> cases;
  for (uint32_t chunk : {1u, 7u, 16u, 60u}) {
    for (bool cache : {false, true}) {
      cases.push_back({SplitMode::kOff, 1, false, chunk, cache});
      cases.push_back({SplitMode::kOff, 2, true, chunk, cache});
      for (SplitMode split : {SplitMode::kOn, SplitMode::kAuto}) {
        cases.push_back({split, 2, false, chunk, cache});
        cases.push_back({split, 2, true, chunk, cache});
        cases.push_back({split, 3, true, chunk, cache});
      }
    }
  }
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message()
                 << ToString(c.split) << " devices " << c.devices
                 << " two pools " << c.two_pools << " chunk " << c.chunk
                 << " cache " << c.prefix_cache);
    Harness harness({.split = c.split,
                     .devices = c.devices,
                     .two_pools = c.two_pools,
                     .chunk = c.chunk,
                     .prefix_cache = c.prefix_cache});
    Rng rng(c.chunk);
    std::vector<GenerateRequest> requests;
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (int i = 0; i < 16; ++i) {
      requests.push_back(RandomRequest(rng, harness.options().max_context));
      sinks.push_back(harness.Submit(requests.back()));
    }
    harness.RunToRest();
    for (size_t i = 0; i < sinks.size(); ++i) {
      ExpectUndisturbed(requests[i], *sinks[i], harness.options().max_context);
    }
    const EngineStats stats = harness.loop().Snapshot();
    EXPECT_EQ(stats.requests_received, 16u);
    // Under auto they are where that is predicted to pay.
    if (c.split != SplitMode::kAuto) {
      EXPECT_EQ(stats.requests_split > 0, c.split == SplitMode::kOn);
    }
    EXPECT_TRUE(c.prefix_cache || stats.cached_tokens == 0);
    if (HasFailure()) return;
  }
}

TEST(EngineTextTest, APrefixHitChangesNothing) {
  Harness harness({});
  GenerateRequest request{.prompt = FakePrompt(1, 100), .max_tokens = 20};
  request.sampling.ignore_eos = true;
  const auto first = harness.Submit(request);
  harness.RunToRest();
  const auto second = harness.Submit(request);
  harness.RunToRest();
  EXPECT_EQ(first->outcome->cached_tokens, 0u);
  EXPECT_EQ(second->outcome->cached_tokens, 96u);
  EXPECT_EQ(first->text, second->text);
  ExpectUndisturbed(request, *second, 256);
  // Another tenant finds nothing.
  request.cache_salt = 7;
  const auto third = harness.Submit(request);
  harness.RunToRest();
  EXPECT_EQ(third->outcome->cached_tokens, 0u);
  EXPECT_EQ(third->text, first->text);
}

TEST(EngineTextTest, AnAnswerIsFoundByTheNextTurn) {
  Harness harness({.two_pools = true});
  GenerateRequest request{.prompt = FakePrompt(1, 40), .max_tokens = 30};
  request.sampling.ignore_eos = true;
  const auto first = harness.Submit(request);
  harness.RunToRest();
  // Prompt and answer, and what the user says next.
  GenerateRequest next = request;
  for (TokenId id : first->ids()) next.prompt.push_back(id);
  next.prompt.push_back(3);
  const uint64_t before = harness.transport().stats().bytes_moved;
  const auto second = harness.Submit(next);
  harness.RunToRest();
  ExpectUndisturbed(next, *second, 256);
  // The decode pool knew 69 positions: four blocks did not travel, one did.
  EXPECT_EQ(harness.transport().stats().bytes_moved - before,
            FakeKvLayout(16).block_bytes());
}

TEST(EngineTextTest, ScoresOfAPromptAreComplete) {
  for (SplitMode split : {SplitMode::kOff, SplitMode::kOn}) {
    for (uint32_t max_tokens : {0u, 5u}) {
      SCOPED_TRACE(max_tokens);
      Harness harness({.split = split, .two_pools = true, .chunk = 16});
      GenerateRequest request{.prompt = FakePrompt(1, 50), .max_tokens = 3};
      harness.Submit(request);
      harness.RunToRest();  // Its prefix is cached now, and must not matter.
      request.max_tokens = max_tokens;
      request.prompt_logprobs = 2;
      request.sampling.ignore_eos = true;
      const auto sink = harness.Submit(request);
      harness.RunToRest();
      ASSERT_TRUE(sink->finished());
      EXPECT_EQ(sink->outcome->reason, FinishReason::kLength);
      EXPECT_EQ(sink->outcome->output_tokens, max_tokens);
      EXPECT_EQ(sink->outcome->cached_tokens, 0u);
      ASSERT_TRUE(sink->scores.has_value());
      ASSERT_EQ(sink->scores->size(), 49u);
      for (size_t i = 0; i < 49; ++i) {
        EXPECT_EQ((*sink->scores)[i],
                  FakeRunner::ScoreOf(std::span(request.prompt).first(i + 1),
                                      request.prompt[i + 1], 2));
      }
    }
  }
}

TEST(EngineTextTest, EndsAreRespected) {
  Harness harness({});
  GenerateRequest request{.prompt = FakePrompt(2, 10), .max_tokens = 200};
  const auto plain = harness.Submit(request);
  GenerateRequest longer = request;
  longer.sampling.min_tokens = 100;
  const auto at_least = harness.Submit(longer);
  GenerateRequest endless = request;
  endless.sampling.ignore_eos = true;
  endless.max_tokens = 100000;
  const auto full = harness.Submit(endless);
  harness.RunToRest();
  ExpectUndisturbed(request, *plain, 256);
  EXPECT_EQ(plain->outcome->reason, FinishReason::kStop);
  ExpectUndisturbed(longer, *at_least, 256);
  EXPECT_GE(at_least->outcome->output_tokens, 100u);
  // The context is full: prompt and output together.
  EXPECT_EQ(full->outcome->reason, FinishReason::kLength);
  EXPECT_EQ(full->outcome->output_tokens, 246u);
}

TEST(EngineTextTest, LogprobsComeAsTheRunnerGaveThem) {
  Harness harness({.two_pools = true});
  GenerateRequest request{.prompt = FakePrompt(2, 33), .max_tokens = 9};
  request.sampling = {.ignore_eos = true, .top_logprobs = 3};
  const auto sink = harness.Submit(request);
  harness.RunToRest();
  ASSERT_EQ(sink->tokens.size(), 9u);
  const auto& end = FakeTokenizer().spec().end_of_generation;
  std::vector<TokenId> output;
  for (const SampledToken& token : sink->tokens) {
    EXPECT_EQ(token, FakeRunner::Next(request.prompt, output, request.sampling,
                                      end, FakeTokenizer().vocabulary()));
    output.push_back(token.token);
  }
}

}  // namespace
}  // namespace braid
