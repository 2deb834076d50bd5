#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"

namespace braid {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The definition, in double and with a full sort. `ambiguous` is set where a
// difference in the last bits of a float may lead to another token.
struct NaiveResult {
  TokenId token = 0;
  bool ambiguous = false;
  double logprob = 0;
  std::vector<std::pair<TokenId, double>> top;
};

std::vector<std::pair<TokenId, double>> NaiveLogprobs(
    const std::vector<float>& logits) {
  double max = -kInf, sum = 0;
  for (double x : logits) max = x > max ? x : max;
  for (double x : logits) sum += std::isnan(x) ? 0 : std::exp(x - max);
  std::vector<std::pair<TokenId, double>> all;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    all.emplace_back(i, logits[i] - max - std::log(sum));
  }
  std::stable_sort(all.begin(), all.end(), [&](auto& a, auto& b) {
    return logits[a.first] > logits[b.first];
  });
  return all;
}

NaiveResult Naive(std::vector<float> logits, const SamplingParams& p,
                  const SamplingContext& context) {
  NaiveResult result;
  const auto raw = NaiveLogprobs(logits);
  std::set<TokenId> seen(context.prompt.begin(), context.prompt.end());
  std::map<TokenId, int> counts;
  for (TokenId t : context.output) ++counts[t], seen.insert(t);
  for (TokenId t : seen) {
    logits[t] = logits[t] > 0 ? logits[t] / p.repetition_penalty
                              : logits[t] * p.repetition_penalty;
  }
  for (auto [t, n] : counts) {
    logits[t] -= p.frequency_penalty * n;
    logits[t] -= p.presence_penalty;
  }
  for (auto [t, bias] : p.logit_bias) logits[t] += bias;
  if (static_cast<int>(context.output.size()) < p.min_tokens) {
    for (TokenId t : context.end_of_generation) logits[t] = -kInf;
  }
  std::vector<std::pair<double, TokenId>> order;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) order.emplace_back(logits[i], i);
  }
  std::sort(order.begin(), order.end(), [](auto& a, auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (p.temperature == 0) {
    result.token = order[0].second;
  } else {
    if (p.top_k > 0 && p.top_k < static_cast<int>(order.size())) {
      order.resize(p.top_k);
    }
    const double max = order[0].first;
    double total = 0;
    for (auto& [x, t] : order) total += x = std::exp((x - max) / p.temperature);
    if (p.top_p < 1) {
      double sum = 0;
      size_t kept = 0;
      while (kept < order.size()) {
        sum += order[kept++].first;
        if (std::abs(sum / total - p.top_p) < 1e-5) result.ambiguous = true;
        if (sum >= p.top_p * total) break;
      }
      order.resize(kept);
    }
    size_t kept = 0;
    for (auto& [x, t] : order) {
      if (p.min_p > 0 && std::abs(x - p.min_p) < 1e-5 * p.min_p) {
        result.ambiguous = true;
      }
      kept += x >= p.min_p;
    }
    order.resize(kept);
    total = 0;
    for (auto& [x, t] : order) total += x;
    const double target = UniformFloat(p.seed, context.position) * total;
    double sum = 0;
    for (auto& [x, t] : order) {
      sum += x;
      result.token = t;
      if (std::abs(sum - target) < 1e-5 * total) result.ambiguous = true;
      if (sum > target) break;
    }
  }
  for (auto& entry : raw) {
    if (entry.first == result.token) result.logprob = entry.second;
  }
  result.top = raw;
  if (p.top_logprobs >= 0 &&
      result.top.size() > static_cast<size_t>(p.top_logprobs)) {
    result.top.resize(p.top_logprobs);
  }
  return result;
}

float Gaussian(Rng& rng) {
  return static_cast<float>(std::sqrt(-2 * std::log(1 - rng.Uniform())) *
                            std::cos(6.283185307 * rng.Uniform()));
}

std::vector<float> RandomLogits(Rng& rng, size_t vocabulary) {
  std::vector<float> logits(vocabulary);
  const float spread = static_cast<float>(0.1 + 5 * rng.Uniform());
  const bool coarse = rng.Below(4) == 0;  // many ties
  for (float& x : logits) {
    x = Gaussian(rng) * spread;
    if (coarse) x = std::round(x);
  }
  return logits;
}

SamplingParams RandomParams(Rng& rng, size_t vocabulary) {
  SamplingParams p;
  const auto one_in = [&](uint64_t n) { return rng.Below(n) == 0; };
  p.seed = rng();
  p.temperature =
      one_in(6) ? 0.0f : static_cast<float>(0.1 + 2 * rng.Uniform());
  if (one_in(2)) p.top_k = static_cast<int32_t>(1 + rng.Below(vocabulary + 9));
  if (one_in(3)) p.top_k = static_cast<int32_t>(1 + rng.Below(50));
  if (one_in(2)) p.top_p = static_cast<float>(rng.Uniform());
  if (one_in(2)) p.min_p = static_cast<float>(rng.Uniform() * 0.3);
  if (one_in(3)) {
    p.repetition_penalty = static_cast<float>(0.5 + rng.Uniform());
  }
  if (one_in(3)) p.presence_penalty = static_cast<float>(rng.Uniform() * 2 - 1);
  if (one_in(3)) p.frequency_penalty = static_cast<float>(rng.Uniform() - 0.5);
  if (one_in(3)) {
    for (uint64_t n = rng.Below(5); n > 0; --n) {
      const float bias =
          one_in(4) ? -kInf : static_cast<float>(rng.Uniform() * 20 - 10);
      p.logit_bias.emplace_back(rng.Below(vocabulary), bias);
    }
  }
  if (one_in(3)) p.min_tokens = 10;
  p.top_logprobs = static_cast<int32_t>(rng.Below(23)) - 1;
  return p;
}

TEST(SamplingTest, EqualsTheDefinitionOverRandomCases) {
  Rng rng(1);
  SamplingWorkspace workspace;
  int ambiguous = 0;
  const int kCases = 4000;
  for (int i = 0; i < kCases; ++i) {
    const size_t vocabulary = i % 200 == 0 ? 20000 : 8 + rng.Below(700);
    const std::vector<float> logits = RandomLogits(rng, vocabulary);
    const SamplingParams params = RandomParams(rng, vocabulary);
    std::vector<TokenId> prompt, output;
    for (uint64_t n = rng.Below(30); n > 0; --n) {
      prompt.push_back(static_cast<TokenId>(rng.Below(vocabulary)));
    }
    for (uint64_t n = rng.Below(20); n > 0; --n) {
      output.push_back(static_cast<TokenId>(rng.Below(vocabulary)));
    }
    const TokenId end[] = {2, 5};
    const SamplingContext context{prompt, output, rng.Below(1000), end};
    const NaiveResult want = Naive(logits, params, context);
    std::vector<float> scratch = logits;
    const SampledToken got = Sample(scratch, params, context, workspace);
    if (want.ambiguous) {
      ++ambiguous;
    } else {
      ASSERT_EQ(got.token, want.token) << "case " << i;
    }
    if (params.top_logprobs < 0) {
      EXPECT_TRUE(got.top.empty());
      continue;
    }
    if (got.token == want.token) {
      EXPECT_NEAR(got.logprob, want.logprob, 2e-5);
    }
    ASSERT_EQ(got.top.size(), want.top.size());
    for (size_t j = 0; j < got.top.size(); ++j) {
      EXPECT_EQ(got.top[j].token, want.top[j].first);
      EXPECT_NEAR(got.top[j].logprob, want.top[j].second, 2e-5);
    }
    const TokenId scored = static_cast<TokenId>(rng.Below(vocabulary));
    const SampledToken score =
        Score(logits, scored, params.top_logprobs, workspace);
    EXPECT_EQ(score.token, scored);
    EXPECT_EQ(score.top, got.top);
    for (const TokenLogprob& entry : score.top) {
      if (entry.token == scored) {
        EXPECT_EQ(score.logprob, entry.logprob);
      }
    }
  }
  EXPECT_LT(ambiguous, kCases / 50);
}

// Pearson's statistic of many draws (one per position) against the softmax.
double ChiSquare(const SamplingParams& params, const std::vector<float>& logits,
                 const std::vector<double>& expected, int draws) {
  SamplingWorkspace workspace;
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) {
    std::vector<float> scratch = logits;
    SamplingContext context;
    context.position = static_cast<uint64_t>(i);
    ++counts[Sample(scratch, params, context, workspace).token];
  }
  double statistic = 0;
  for (size_t t = 0; t < logits.size(); ++t) {
    const double want = expected[t] * draws;
    if (want == 0) {
      EXPECT_EQ(counts[t], 0) << t;
    } else {
      statistic += (counts[t] - want) * (counts[t] - want) / want;
    }
  }
  return statistic;
}

TEST(SamplingTest, DrawsFollowTheDistribution) {
  const std::vector<double> p = {0.02, 0.3, 0.08, 0.25, 0.05, 0.2, 0.1};
  std::vector<float> logits;
  for (double x : p) logits.push_back(static_cast<float>(std::log(x)) + 3);
  // 6 degrees of freedom: 22.46 is exceeded once in a thousand; for 3: 16.27.
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SamplingParams params;
    params.seed = seed;
    EXPECT_LT(ChiSquare(params, logits, p, 20000), 22.46) << seed;
    params.top_p = 0.8f;  // 0.3 + 0.25 + 0.2 = 0.75, so 0.1 comes too
    EXPECT_LT(
        ChiSquare(params, logits,
                  {0, 0.3 / 0.85, 0, 0.25 / 0.85, 0, 0.2 / 0.85, 0.1 / 0.85},
                  20000),
        16.27)
        << seed;
  }
}

TEST(SamplingTest, GreedyTakesTheLowestOfEqualIds) {
  SamplingWorkspace workspace;
  SamplingParams params;
  params.temperature = 0;
  Rng rng(2);
  for (int i = 0; i < 500; ++i) {
    const size_t n = 1 + rng.Below(3000);
    std::vector<float> logits(n);
    for (float& x : logits) x = static_cast<float>(rng.Below(n / 3 + 1));
    const auto want = std::max_element(logits.begin(), logits.end());
    const TokenId index = static_cast<TokenId>(want - logits.begin());
    EXPECT_EQ(Sample(logits, params, {}, workspace).token, index);
  }
}

TEST(SamplingTest, NanAndInfinityAreDefined) {
  SamplingWorkspace workspace;
  for (float temperature : {0.0f, 1.0f}) {
    for (int top_k : {0, 2}) {
      for (float top_p : {1.0f, 0.5f}) {
        for (float min_p : {0.0f, 0.2f, 1.0f, 7.0f}) {
          SamplingParams params;
          params.temperature = temperature;
          params.top_k = top_k;
          params.top_p = top_p;
          params.min_p = min_p;
          params.top_logprobs = 3;
          const auto sample = [&](std::vector<float> logits) {
            return Sample(logits, params, {}, workspace);
          };
          EXPECT_EQ(sample({kNan, kNan, 1, kNan}).token, 2);
          EXPECT_EQ(sample({kNan, -kInf, -5, kNan}).token, 2);
          EXPECT_EQ(sample({kNan, -kInf, -5, kNan}).top.size(), 1u);
          EXPECT_EQ(sample({kNan, -kInf}).token, 0);
          EXPECT_EQ(sample({kNan, -kInf}).logprob, -kInf);
          const SampledToken infinite = sample({1e30f, kInf, kNan, 3});
          EXPECT_EQ(infinite.token, 1);
          EXPECT_EQ(infinite.logprob, 0);
          const TokenId huge = sample({3e38f, 3e38f, -3e38f}).token;
          EXPECT_TRUE(huge == 0 || huge == 1);
        }
      }
    }
  }
}

TEST(SamplingTest, ExtremeTemperaturesAreDefined) {
  SamplingWorkspace workspace;
  for (float temperature : {-1.0f, kNan, 1e-30f, 1e-5f, 1e30f, kInf}) {
    SamplingParams params;
    params.temperature = temperature;
    std::vector<float> logits = {1, 5, kNan, 4, -kInf};
    const TokenId token = Sample(logits, params, {}, workspace).token;
    if (temperature < 1) {
      EXPECT_EQ(token, 1);
    }
    EXPECT_NE(token, 2);
    EXPECT_NE(token, 4);
  }
}

TEST(SamplingTest, IdsOutsideTheVocabularyAreIgnored) {
  SamplingWorkspace workspace;
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 2;
  params.logit_bias = {{-1, 100.0f}, {99, 100.0f}};
  params.min_tokens = 1;
  const TokenId strange[] = {-7, 3, 1 << 30};
  std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(Sample(logits, params, {strange, {}, 0, strange}, workspace).token,
            2);
}

TEST(SamplingTest, TheSameWhateverTheWorkspaceWasUsedFor) {
  Rng rng(3);
  SamplingWorkspace reused;
  for (int i = 0; i < 300; ++i) {
    const size_t vocabulary = 8 + rng.Below(500);
    const std::vector<float> logits = RandomLogits(rng, vocabulary);
    const SamplingParams params = RandomParams(rng, vocabulary);
    const TokenId history[] = {1, 2, 1, 7};
    const SamplingContext context{history, history, 3, {}};
    std::vector<float> a = logits, b = logits;
    SamplingWorkspace fresh;
    EXPECT_EQ(Sample(a, params, context, reused),
              Sample(b, params, context, fresh));
  }
}

// As in self_certainty.py; multiples of powers of two, so nothing is rounded.
std::vector<float> Spread(uint32_t n, float width) {
  std::vector<float> logits(n);
  for (uint32_t i = 0; i < n; ++i) {
    logits[i] = static_cast<float>((i * 2654435761u) >> 8) / (1 << 24) * width;
  }
  return logits;
}

float CertaintyOf(std::vector<float> logits, SamplingParams params = {}) {
  SamplingWorkspace workspace;
  params.self_certainty = true;
  return Sample(logits, params, {}, workspace).self_certainty;
}

TEST(SelfCertaintyTest, AsTorchHasIt) {
  struct Case {
    uint32_t n;
    float width;
    float certainty;  // printed by self_certainty.py
  };
  for (const Case& one : {Case{2, 1, 0.047004665f},
                          {100, 8, 1.941861354f},
                          {49152, 16, 5.227526982f},
                          {151936, 32, 12.534345174f}}) {
    EXPECT_NEAR(CertaintyOf(Spread(one.n, one.width)), one.certainty,
                2e-6 * one.certainty)
        << one.n;
  }
}

// Of the model's own distribution: neither penalties nor temperature nor what
// may be drawn has a say, nor where the logits' zero is.
TEST(SelfCertaintyTest, OfTheModelsOwnDistribution) {
  const std::vector<float> logits = Spread(1000, 8);
  SamplingParams params;
  params.temperature = 0.3f;
  params.top_k = 5;
  params.logit_bias = {{7, 50.0f}};
  EXPECT_EQ(CertaintyOf(logits, params), CertaintyOf(logits));
  std::vector<float> shifted = logits;
  for (float& logit : shifted) logit += 64;
  EXPECT_NEAR(CertaintyOf(shifted), CertaintyOf(logits), 1e-5);
  EXPECT_FLOAT_EQ(CertaintyOf(std::vector<float>(333, 5.0f)), 0);
}

TEST(SelfCertaintyTest, ImpossibleTokensHaveNoShare) {
  std::vector<float> logits = Spread(100, 8);
  const float possible = CertaintyOf(logits);
  logits.insert(logits.begin() + 40, {-kInf, kNan, -kInf});
  EXPECT_NEAR(CertaintyOf(logits), possible, 1e-6);
  EXPECT_EQ(CertaintyOf({1, kInf, 2}), 0);
  EXPECT_EQ(CertaintyOf({-kInf, -kInf}), 0);
  EXPECT_EQ(CertaintyOf({kNan}), 0);
}

TEST(SelfCertaintyTest, ChangesNothingElse) {
  Rng rng(4);
  SamplingWorkspace workspace;
  for (int i = 0; i < 300; ++i) {
    const size_t vocabulary = 8 + rng.Below(500);
    const std::vector<float> logits = RandomLogits(rng, vocabulary);
    SamplingParams params = RandomParams(rng, vocabulary);
    std::vector<float> a = logits, b = logits;
    SampledToken plain = Sample(a, params, {}, workspace);
    params.self_certainty = true;
    const SampledToken asked = Sample(b, params, {}, workspace);
    plain.self_certainty = asked.self_certainty;
    EXPECT_EQ(asked, plain);
  }
}

}  // namespace
}  // namespace braid
