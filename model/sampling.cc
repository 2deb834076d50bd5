#include "model/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/rng.h"

namespace braid {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// As many as fill the widest vector registers, and a fixed number of them, so
// that sums have one order whatever the compiler does.
constexpr size_t kLanes = 16;
constexpr size_t kBlock = 64;

// NaN never compares greater, so it is never the maximum.
float BlockMax(const float* x, size_t n) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -kInfinity);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    }
  }
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  float max = -kInfinity;
  for (float lane : lanes) max = lane > max ? lane : max;
  return max;
}

// One pass; then only the block that holds the maximum is searched for it.
TokenId ArgMax(std::span<const float> logits) {
  constexpr size_t kStride = 1024;
  float best = -kInfinity;
  size_t best_start = 0;
  for (size_t start = 0; start < logits.size(); start += kStride) {
    const float max =
        BlockMax(&logits[start], std::min(kStride, logits.size() - start));
    if (max > best) {
      best = max;
      best_start = start;
    }
  }
  if (best == -kInfinity) return 0;
  return static_cast<TokenId>(
      std::find(logits.begin() + best_start, logits.end(), best) -
      logits.begin());
}

float Max(std::span<const float> logits) {
  return BlockMax(logits.data(), logits.size());
}

// e^x for x <= 0, to 2 ulp; 0 below -87 and for NaN. Our own because it must
// vectorise and have the same bits with every C library.
inline float Exp(float x) {
  const float clamped = x > -87.0f ? x : -87.0f;
  // Rounds to the nearest integer by adding 1.5 * 2^23.
  const float shifted = clamped * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  // ln 2 in two parts, the first with few enough bits for n * high to be exact.
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) - 0x4B400000u)
                            << 23;
  const float value =
      std::bit_cast<float>(std::bit_cast<uint32_t>(p) + exponent);
  return x > -87.0f ? value : 0.0f;
}

// Sum of e^((x - max) * scale) in a fixed order. `max` is finite.
double SumOfWeights(std::span<const float> logits, float max, float scale) {
  double lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    float weights[kLanes];
    for (size_t j = 0; j < kLanes; ++j) {
      weights[j] = Exp((logits[i + j] - max) * scale);
    }
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += weights[j];
  }
  double sum = 0;
  for (; i < logits.size(); ++i) sum += Exp((logits[i] - max) * scale);
  for (double lane : lanes) sum += lane;
  return sum;
}

// More probable first, ties by lower id: a total order, so that what follows
// from it does not depend on how it was sorted.
bool Before(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
}

// All possible tokens with a logit of at least `threshold`, by id.
void Gather(std::span<const float> logits, float threshold,
            std::vector<TokenLogprob>& out) {
  out.clear();
  for (size_t start = 0; start < logits.size(); start += kBlock) {
    const size_t end = std::min(start + kBlock, logits.size());
    bool any = false;  // blocks are nearly always skipped, at vector speed
    for (size_t i = start; i < end; ++i) any |= logits[i] >= threshold;
    if (!any) continue;
    for (size_t i = start; i < end; ++i) {
      if (logits[i] >= threshold && logits[i] != -kInfinity) {
        out.push_back({static_cast<TokenId>(i), logits[i]});
      }
    }
  }
}

// The k best, in order, into workspace.candidates. The k-th largest of the
// maxima of blocks is no more than the k-th largest logit, so only logits from
// there on need a look: a few times k of them.
void SelectTop(std::span<const float> logits, size_t k,
               SamplingWorkspace& workspace) {
  std::vector<float>& maxima = workspace.block_max;
  maxima.clear();
  for (size_t start = 0; start < logits.size(); start += kBlock) {
    maxima.push_back(
        BlockMax(&logits[start], std::min(kBlock, logits.size() - start)));
  }
  float threshold = -kInfinity;
  if (k <= maxima.size()) {
    const auto kth = maxima.begin() + (k - 1);
    std::nth_element(maxima.begin(), kth, maxima.end(), std::greater<>());
    threshold = *kth;
  }
  std::vector<TokenLogprob>& top = workspace.candidates;
  Gather(logits, threshold, top);
  const size_t kept = std::min(k, top.size());
  std::partial_sort(top.begin(), top.begin() + kept, top.end(), Before);
  top.resize(kept);
}

// The model's own distribution: what logprobs are read from.
struct LogSoftmax {
  explicit LogSoftmax(std::span<const float> logits) : max(Max(logits)) {
    if (std::isfinite(max)) {
      log_sum = std::log(SumOfWeights(logits, max, 1.0f));
    } else if (max == kInfinity) {
      log_sum = std::log(std::count(logits.begin(), logits.end(), max));
    }
  }
  float operator()(float logit) const {
    if (std::isnan(logit) || logit == -kInfinity) return -kInfinity;
    if (logit == max) return static_cast<float>(-log_sum);
    return static_cast<float>(double{logit} - max - log_sum);
  }
  float max;
  double log_sum = 0;
};

// log sum e^z - mean z - log n, of the n logits that are finite; in a fixed
// order, as every sum here.
float SelfCertainty(std::span<const float> logits,
                    const LogSoftmax& log_softmax) {
  if (!std::isfinite(log_softmax.max)) return 0;
  double lanes[kLanes] = {};
  uint32_t counts[kLanes] = {};
  const auto add = [&](float logit, size_t lane) {
    const bool possible = logit >= std::numeric_limits<float>::lowest();
    lanes[lane] += possible ? logit - log_softmax.max : 0.0f;
    counts[lane] += possible;
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) add(logits[i + j], j);
  }
  for (; i < logits.size(); ++i) add(logits[i], 0);
  double sum = 0, count = 0;
  for (size_t j = 0; j < kLanes; ++j) {
    sum += lanes[j];
    count += counts[j];
  }
  return static_cast<float>(log_softmax.log_sum - sum / count -
                            std::log(count));
}

std::vector<TokenLogprob> TopLogprobs(std::span<const float> logits,
                                      int32_t count,
                                      const LogSoftmax& log_softmax,
                                      SamplingWorkspace& workspace) {
  if (count <= 0) return {};
  SelectTop(logits, static_cast<size_t>(count), workspace);
  std::vector<TokenLogprob> top(workspace.candidates);
  for (TokenLogprob& entry : top) entry.logprob = log_softmax(entry.logprob);
  return top;
}

// Changes logits and remembers what they were, for the chosen token's logprob.
class Adjuster {
 public:
  Adjuster(std::span<float> logits, SamplingWorkspace& workspace)
      : logits_(logits), workspace_(workspace) {
    workspace_.originals.clear();
  }

  void Apply(const SamplingParams& params, const SamplingContext& context) {
    const bool repetition = params.repetition_penalty != 1.0f;
    if (repetition || params.presence_penalty != 0 ||
        params.frequency_penalty != 0) {
      Count(repetition ? context.prompt : std::span<const TokenId>(),
            context.output);
      Penalise(params);
    }
    for (const auto& [token, bias] : params.logit_bias) {
      if (!InVocabulary(token)) continue;
      Remember(token);
      logits_[token] += bias;
    }
    if (static_cast<int64_t>(context.output.size()) < params.min_tokens) {
      for (const TokenId token : context.end_of_generation) {
        if (!InVocabulary(token)) continue;
        Remember(token);
        logits_[token] = -kInfinity;
      }
    }
  }

  float Original(TokenId token) const {
    for (const TokenLogprob& entry : workspace_.originals) {
      if (entry.token == token) return entry.logprob;  // the oldest is first
    }
    return logits_[token];
  }

 private:
  static constexpr uint32_t kSeen = uint32_t{1} << 31;

  bool InVocabulary(TokenId token) const {
    return token >= 0 && static_cast<size_t>(token) < logits_.size();
  }
  void Remember(TokenId token) {
    workspace_.originals.push_back({token, logits_[token]});
  }

  // counts[t]: occurrences in the output, with kSeen if in either.
  void Count(std::span<const TokenId> prompt, std::span<const TokenId> output) {
    std::vector<uint32_t>& counts = workspace_.counts;
    if (counts.size() < logits_.size()) counts.resize(logits_.size(), 0);
    const auto see = [&](TokenId token, uint32_t occurrences) {
      if (!InVocabulary(token)) return;
      if (counts[token] == 0) Remember(token);
      counts[token] = (counts[token] + occurrences) | kSeen;
    };
    for (const TokenId token : prompt) see(token, 0);
    for (const TokenId token : output) see(token, 1);
  }

  // Leaves the counts zero again.
  void Penalise(const SamplingParams& params) {
    for (const TokenLogprob& entry : workspace_.originals) {
      uint32_t& count = workspace_.counts[entry.token];
      const auto occurrences = static_cast<float>(count & ~kSeen);
      count = 0;
      float& logit = logits_[entry.token];
      logit = logit > 0 ? logit / params.repetition_penalty
                        : logit * params.repetition_penalty;
      logit -= params.frequency_penalty * occurrences;
      if (occurrences > 0) logit -= params.presence_penalty;
    }
  }

  std::span<float> logits_;
  SamplingWorkspace& workspace_;
};

// The candidates of a draw, most probable first, their weights, and the weight
// of everything the draw is over (which may be more than the candidates').
class Draw {
 public:
  // `logits` have a finite maximum.
  Draw(std::span<const float> logits, const SamplingParams& params,
       SamplingWorkspace& workspace)
      : logits_(logits),
        max_(Max(logits)),
        scale_(1.0f / params.temperature),
        workspace_(workspace) {}

  TokenId operator()(const SamplingParams& params, float uniform) {
    const bool top_k =
        params.top_k > 0 && static_cast<size_t>(params.top_k) < logits_.size();
    const bool top_p = params.top_p < 1.0f;
    const float min_p = std::min(params.min_p, 1.0f);
    if (top_k) {
      SelectTop(logits_, params.top_k, workspace_);
      total_ = Weigh();
    } else if (top_p || !(min_p > 0)) {
      total_ = SumOfWeights(logits_, max_, scale_);
      // Without top_p no more than the token drawn is needed.
      GatherMass((top_p ? params.top_p : uniform) * total_);
    } else {
      // A little below the threshold, as the logarithm is rounded.
      GatherDownTo(max_ + (std::log(min_p) - 1e-3f) / scale_);
    }
    if (top_p) KeepTopP(params.top_p);
    if (min_p > 0) KeepMinP(min_p);
    return Pick(uniform * total_);
  }

 private:
  // Weights of the candidates, and their sum in order.
  double Weigh() {
    workspace_.weights.clear();
    double sum = 0;
    for (const TokenLogprob& candidate : workspace_.candidates) {
      workspace_.weights.push_back(Exp((candidate.logprob - max_) * scale_));
      sum += workspace_.weights.back();
    }
    return sum;
  }

  // The most probable tokens, in order, that weigh at least `mass` together.
  // Looks ever deeper below the maximum, as the head is mostly enough.
  void GatherMass(double mass) {
    for (float depth = 4.0f;; depth *= 2) {
      const bool all = depth > 64.0f;
      Gather(logits_, all ? -kInfinity : max_ - depth / scale_,
             workspace_.candidates);
      // A margin, since these sums differ from the total in their order.
      if (!all && Weigh() < mass * (1 + 1e-9)) continue;
      Order();
      return;
    }
  }

  void GatherDownTo(float threshold) {
    Gather(logits_, threshold, workspace_.candidates);
    Order();
  }

  void Order() {
    std::sort(workspace_.candidates.begin(), workspace_.candidates.end(),
              Before);
    Weigh();
  }

  void KeepTopP(float top_p) {
    const double wanted = double{top_p} * total_;
    double sum = 0;
    size_t kept = 0;
    while (kept < workspace_.weights.size()) {
      sum += workspace_.weights[kept++];
      if (sum >= wanted) break;
    }
    workspace_.weights.resize(kept);
    total_ = sum;
  }

  // Candidates are in order, so the improbable ones are at the end.
  void KeepMinP(float min_p) {
    const std::vector<float>& weights = workspace_.weights;
    size_t kept = 1;  // the maximum has weight 1
    total_ = weights[0];
    while (kept < weights.size() && weights[kept] >= min_p) {
      total_ += weights[kept++];
    }
    workspace_.weights.resize(kept);
  }

  TokenId Pick(double target) const {
    double sum = 0;
    size_t last = 0;  // rounding may leave the target past the end
    for (size_t i = 0; i < workspace_.weights.size(); ++i) {
      if (workspace_.weights[i] == 0) break;
      sum += workspace_.weights[i];
      last = i;
      if (sum > target) break;
    }
    return workspace_.candidates[last].token;
  }

  std::span<const float> logits_;
  const float max_;
  const float scale_;
  double total_ = 0;
  SamplingWorkspace& workspace_;
};

TokenId Choose(std::span<float> logits, const SamplingParams& params,
               uint64_t position, SamplingWorkspace& workspace) {
  if (!(params.temperature >= kGreedyBelow)) return ArgMax(logits);
  const float max = Max(logits);
  if (max == -kInfinity) return 0;
  if (max == kInfinity) {
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] == kInfinity) {
        workspace.originals.push_back({static_cast<TokenId>(i), logits[i]});
      }
      logits[i] = logits[i] == kInfinity ? 0 : -kInfinity;
    }
  }
  return Draw(logits, params, workspace)(params,
                                         UniformFloat(params.seed, position));
}

}  // namespace

SampledToken Sample(std::span<float> logits, const SamplingParams& params,
                    const SamplingContext& context,
                    SamplingWorkspace& workspace) {
  BRAID_CHECK(!logits.empty());
  SampledToken result;
  if (params.top_logprobs < 0 && !params.self_certainty) {
    Adjuster(logits, workspace).Apply(params, context);
    result.token = Choose(logits, params, context.position, workspace);
    return result;
  }
  const LogSoftmax log_softmax(logits);
  if (params.self_certainty) {
    result.self_certainty = SelfCertainty(logits, log_softmax);
  }
  result.top = TopLogprobs(logits, params.top_logprobs, log_softmax, workspace);
  Adjuster adjuster(logits, workspace);
  adjuster.Apply(params, context);
  result.token = Choose(logits, params, context.position, workspace);
  if (params.top_logprobs >= 0) {
    result.logprob = log_softmax(adjuster.Original(result.token));
  }
  return result;
}

SampledToken Score(std::span<const float> logits, TokenId token,
                   int32_t top_logprobs, SamplingWorkspace& workspace) {
  BRAID_CHECK(token >= 0 && static_cast<size_t>(token) < logits.size());
  const LogSoftmax log_softmax(logits);
  SampledToken result;
  result.token = token;
  result.logprob = log_softmax(logits[token]);
  result.top = TopLogprobs(logits, top_logprobs, log_softmax, workspace);
  return result;
}

}  // namespace braid
