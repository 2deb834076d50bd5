// Section 7 of the design on the real thing: the default model on CPU cores
// behind the real engine. Tokens, text and logprobs are equal bit for bit with
// split on, off and auto, under either transport, at any chunk size, alone and
// in a crowd of 16, with and without prefix hits, on one core and on two.
#include <cmath>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "tests/support/default_engine.h"

namespace braid {
namespace {

struct Answer {
  std::vector<SampledToken> scores;
  std::vector<SampledToken> tokens;
  std::string text;
  Outcome outcome;
};

class Collector final : public TokenSink {
 public:
  void OnPromptScores(std::vector<SampledToken> scores) override {
    answer_.scores = std::move(scores);
  }
  bool OnTokens(const TokenDelta& delta) override {
    answer_.tokens.insert(answer_.tokens.end(), delta.tokens.begin(),
                          delta.tokens.end());
    answer_.text += delta.text;
    return true;
  }
  void OnFinish(Outcome outcome) override {
    answer_.outcome = std::move(outcome);
    done_.set_value(std::move(answer_));
  }
  std::future<Answer> Done() { return done_.get_future(); }

 private:
  Answer answer_;
  std::promise<Answer> done_;
};

// 16 prompts of 2 to 300 tokens, half of them with a common beginning; greedy
// and sampled, with alternatives, penalties and scored prompts among them.
std::vector<GenerateRequest> Requests() {
  const int32_t vocabulary = DefaultModel::Get().tokenizer->vocabulary();
  std::vector<TokenId> common(150);
  Rng rng(11);
  for (TokenId& token : common) {
    token = static_cast<TokenId>(100 + rng.Below(vocabulary - 100));
  }
  std::vector<GenerateRequest> requests(16);
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerateRequest& request = requests[i];
    if (i % 2 == 0) request.prompt = common;
    for (uint64_t n = 2 + rng.Below(150); n > 0; --n) {
      request.prompt.push_back(
          static_cast<TokenId>(100 + rng.Below(vocabulary - 100)));
    }
    request.max_tokens = 6 + static_cast<uint32_t>(rng.Below(12));
    request.sampling.temperature = i % 3 == 0 ? 0.0f : 0.9f;
    request.sampling.top_p = i % 3 == 1 ? 0.9f : 1.0f;
    request.sampling.repetition_penalty = i % 4 == 1 ? 1.1f : 1.0f;
    request.sampling.seed = i;
    request.sampling.top_logprobs = 2;
    request.sampling.ignore_eos = true;
    if (i % 5 == 0) request.prompt_logprobs = 1;
  }
  return requests;
}

std::vector<Answer> RunAll(Engine& engine, bool crowd, size_t requests = 16) {
  std::vector<Answer> answers;
  std::vector<std::future<Answer>> pending;
  for (GenerateRequest& request : Requests()) {
    if (pending.size() == requests) break;
    auto sink = std::make_shared<Collector>();
    pending.push_back(sink->Done());
    const auto id = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    if (!crowd) answers.push_back(pending.back().get());
  }
  if (crowd) {
    for (auto& answer : pending) answers.push_back(answer.get());
  }
  return answers;
}

// The measure of all: one core, one device, whole prompts, alone.
const std::vector<Answer>& Baseline() {
  static const std::vector<Answer>* answers = [] {
    SystemClock clock;
    auto engine = MakeDefaultEngine({.chunk = 512, .cores = 1}, clock);
    return new std::vector<Answer>(RunAll(*engine, /*crowd=*/false));
  }();
  return *answers;
}

// Empty when equal, as far as `b` goes; else where the first difference is.
// float == float: bits.
std::string Difference(const std::vector<Answer>& a,
                       const std::vector<Answer>& b) {
  for (size_t i = 0; i < b.size(); ++i) {
    const std::string which = "request " + std::to_string(i) + ": ";
    if (!b[i].outcome.status.ok())
      return which + b[i].outcome.status.ToString();
    if (a[i].tokens != b[i].tokens) return which + "tokens or logprobs";
    if (a[i].text != b[i].text) return which + "text";
    if (a[i].scores != b[i].scores) return which + "scores of the prompt";
  }
  return "";
}

void ExpectBaseline(const EngineSetting& setting, bool crowd) {
  SystemClock clock;
  auto engine = MakeDefaultEngine(setting, clock);
  EXPECT_EQ(Difference(Baseline(), RunAll(*engine, crowd)), "");
}

TEST(BitsTest, TheBaselineIsWorthComparingWith) {
  size_t tokens = 0;
  for (const Answer& answer : Baseline()) {
    ASSERT_TRUE(answer.outcome.status.ok()) << answer.outcome.status;
    EXPECT_EQ(answer.outcome.output_tokens, answer.tokens.size());
    for (const SampledToken& token : answer.tokens) {
      EXPECT_LT(token.logprob, 0.0f);
      EXPECT_EQ(token.top.size(), 2u);
    }
    tokens += answer.tokens.size();
  }
  EXPECT_GT(tokens, 100u);
  // A difference of one bit is seen.
  std::vector<Answer> changed = Baseline();
  float& logprob = changed[7].tokens[3].logprob;
  logprob = std::nextafterf(logprob, 0.0f);
  EXPECT_EQ(Difference(Baseline(), changed), "request 7: tokens or logprobs");
}

TEST(BitsTest, TwoCores) { ExpectBaseline({.chunk = 512}, false); }

TEST(BitsTest, ACrowd) { ExpectBaseline({}, true); }

TEST(BitsTest, SmallChunksOfAnySize) {
  ExpectBaseline({.chunk = 17}, true);
  // A step per token of every prompt: three requests will do.
  SystemClock clock;
  auto engine = MakeDefaultEngine({.chunk = 1}, clock);
  EXPECT_EQ(Difference(Baseline(), RunAll(*engine, true, 3)), "");
}

TEST(BitsTest, SplitOnLoopback) {
  ExpectBaseline({.split = SplitMode::kOn}, false);
  ExpectBaseline({.split = SplitMode::kOn, .chunk = 33}, true);
}

TEST(BitsTest, SplitOnLoopbackWithoutLending) {
  ExpectBaseline({.split = SplitMode::kOn, .lend = false}, true);
}

TEST(BitsTest, SplitOnCopy) {
  ExpectBaseline({.split = SplitMode::kOn, .copy = true}, false);
  ExpectBaseline({.split = SplitMode::kOn, .copy = true, .chunk = 48}, true);
}

TEST(BitsTest, SplitAuto) {
  ExpectBaseline({.split = SplitMode::kAuto}, true);
  ExpectBaseline({.split = SplitMode::kAuto, .copy = true}, true);
}

TEST(BitsTest, PrefixHits) {
  for (const bool copy : {false, true}) {
    SystemClock clock;
    auto engine = MakeDefaultEngine(
        {.split = SplitMode::kOn, .copy = copy, .prefix_cache = true}, clock);
    EXPECT_EQ(Difference(Baseline(), RunAll(*engine, true)), "");
    const std::vector<Answer> again = RunAll(*engine, true);
    EXPECT_EQ(Difference(Baseline(), again), "");
    uint32_t cached = 0;
    for (const Answer& answer : again) cached += answer.outcome.cached_tokens;
    EXPECT_GT(cached, 1000u) << "the second round should have hit";
  }
}

}  // namespace
}  // namespace braid
