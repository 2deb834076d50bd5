// The default model on the CPU runner against an independent implementation,
// whose linear inputs are floats, or rounded to int8 as the kernels round them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cpu/golden/default_golden.h"
#include "tests/cpu/runner_driver.h"

namespace braid::cpu {
namespace {

using golden::DefaultGolden;

class RunnerDefaultTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto file = ModelFile::Open(golden::DefaultModelPath());
    ASSERT_TRUE(file.ok()) << file.status()
                           << "; run deploy/quickstart.sh once to fetch it";
    auto model = CpuModel::Load(**file, BestIsa(), 2);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *model;
    golden_ = golden::ReadDefaultGolden();
  }

  // The other implementation's, with rounded inputs.
  std::vector<SampledToken> RoundedScores() const {
    const DefaultGolden::Text& text = golden_.int8_text;
    std::vector<SampledToken> scores;
    for (size_t i = 0; i + 1 < golden_.tokens.size(); ++i) {
      const size_t best = i * DefaultGolden::kBest;
      scores.push_back({golden_.tokens[i + 1],
                        text.next_logprobs[i],
                        {{text.best_ids[best], text.best_logprobs[best]}}});
    }
    return scores;
  }

  std::shared_ptr<const CpuModel> model_;
  DefaultGolden golden_;
};

// Of the logprobs of a text's own tokens, and of the most probable ones.
struct Agreement {
  double top_1 = 0;  // share of positions
  double mean = 0;   // |difference of logprob| of the next token
  double p99 = 0;
};

Agreement Compare(const std::vector<SampledToken>& scores,
                  const DefaultGolden::Text& text) {
  std::vector<double> errors;
  double equal = 0, total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    equal += scores[i].top[0].token == text.best_ids[i * DefaultGolden::kBest];
    errors.push_back(std::abs(scores[i].logprob - text.next_logprobs[i]));
    total += errors.back();
  }
  std::sort(errors.begin(), errors.end());
  const auto n = static_cast<double>(scores.size());
  return {equal / n, total / n, errors[errors.size() * 99 / 100]};
}

void Print(const char* what, const Agreement& a) {
  std::printf("%s: top-1 %.4f, |d logprob| mean %.5f, p99 %.5f\n", what,
              a.top_1, a.mean, a.p99);
}

// Rounding to int8 makes the network chaotic: where two sums differ in the last
// bit, an input of the next layer may round to another step, and after thirty
// layers two correct implementations are as far from each other as each is from
// the float one (reference_default_test.cc has figures). So what is asked is
// that it costs here what it costs there; where all operations are in one order
// nothing differs (runner_ordered_test.cc).
TEST_F(RunnerDefaultTest, RoundingCostsWhatItCostsElsewhere) {
  RunnerDriver driver(model_, {.cores = {{0, 1}}});
  const std::vector<SampledToken> scores = driver.Score(golden_.tokens);

  const Agreement here = Compare(scores, golden_.float_text);
  const Agreement there = Compare(RoundedScores(), golden_.float_text);
  const Agreement between = Compare(scores, golden_.int8_text);
  Print("here, from float inputs", here);
  Print("there, from float inputs", there);
  Print("here, from there", between);
  EXPECT_GE(here.top_1, there.top_1 - 0.01);
  EXPECT_LE(here.mean, there.mean * 1.15);
  EXPECT_LE(here.p99, there.p99 * 1.25);
  EXPECT_LE(between.mean, there.mean * 1.25);
}

// All prompts decode together. A text may leave the golden one where two tokens
// were as good as equal, and is not compared from there on.
TEST_F(RunnerDefaultTest, GreedyTexts) {
  constexpr float kSlack = 0.5f;  // of logits: see p99 above, for two of them
  RunnerDriver driver(model_, {.cores = {{0, 1}}, .blocks = 512});
  const SamplingParams greedy = {.temperature = 0};
  const size_t count = golden_.prompts.size();
  std::vector<RunnerDriver::Sequence> sequences(count);
  for (size_t s = 0; s < count; ++s) sequences[s].tokens = golden_.prompts[s];

  std::vector<bool> left(count, false);
  size_t compared = 0, apart = 0;
  for (uint32_t i = 0; i < golden_.generated; ++i) {
    // In pieces of at most max_rows.
    for (size_t first = 0; first < count; first += 8) {
      const size_t end = std::min(first + 8, count);
      ForwardBatch batch;
      for (size_t s = first; s < end; ++s) {
        SequenceRows rows = driver.Rows(
            sequences[s], static_cast<uint32_t>(sequences[s].tokens.size()) -
                              sequences[s].written);
        rows.sampling = &greedy;
        rows.context.position = sequences[s].tokens.size();
        batch.sequences.push_back(rows);
      }
      const ForwardResult result = driver.Step(batch);
      for (size_t s = first; s < end; ++s) {
        sequences[s].written =
            static_cast<uint32_t>(sequences[s].tokens.size());
        const TokenId token = result.sequences[s - first].token->token;
        sequences[s].tokens.push_back(token);
        if (left[s]) continue;
        const size_t at = s * golden_.generated + i;
        ++compared;
        if (token == golden_.int8_greedy.tokens[at]) continue;
        left[s] = true;
        ++apart;
        EXPECT_LE(golden_.int8_greedy.margins[at], kSlack)
            << "prompt " << s << " token " << i;
      }
    }
  }
  std::printf("%zu of %zu texts leave the golden ones; %zu tokens compared\n",
              apart, count, compared);
  EXPECT_GE(compared, count * 10);
}

}  // namespace
}  // namespace braid::cpu
