// From logits to a token: penalties, truncation, a draw, and logprobs.
//
// Pure: the draw is a function of (seed, position), so a token is the same
// whoever computes it, whenever, and next to whichever others.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace braid {

inline constexpr float kGreedyBelow = 1e-5f;

// Applied in this order: repetition, presence and frequency penalties,
// logit_bias, min_tokens, temperature, top_k, top_p (of what top_k left),
// min_p (relative to the most probable token).
struct SamplingParams {
  // Below kGreedyBelow: greedy, the highest logit, ties to the lowest id.
  float temperature = 1.0f;
  int32_t top_k = 0;  // 0: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // over prompt and output
  float presence_penalty = 0.0f;    // over output
  float frequency_penalty = 0.0f;   // over output
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;
  int32_t min_tokens = 0;  // end_of_generation is impossible before that many
  // Masks nothing: end_of_generation may be drawn, and whoever generates goes
  // on after it.
  bool ignore_eos = false;
  // Alternatives to report; -1: no logprobs at all; 0: the chosen one's only.
  int32_t top_logprobs = -1;
  bool self_certainty = false;  // report that of each token's distribution

  friend bool operator==(const SamplingParams&,
                         const SamplingParams&) = default;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

// A token and, when asked for, its natural-log probability under the model's
// own distribution (before penalties, temperature and truncation) and those of
// the most probable ones, best first, ties by lower id.
struct SampledToken {
  TokenId token = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
  // When asked for: how far the model's own distribution is from the uniform
  // one, KL(uniform || p) in nats over the tokens that are possible (Kang et
  // al., arXiv 2502.18581). 0 where no logit is finite, or one is +inf.
  float self_certainty = 0;
  friend bool operator==(const SampledToken&, const SampledToken&) = default;
};

// What a draw depends on besides the logits.
struct SamplingContext {
  std::span<const TokenId> prompt;
  std::span<const TokenId> output;  // sampled so far
  uint64_t position = 0;            // of the token to be drawn
  std::span<const TokenId> end_of_generation;
};

// Reused between calls to avoid allocation; no meaning between them.
struct SamplingWorkspace {
  std::vector<TokenLogprob> candidates;  // (token, logit)
  std::vector<TokenLogprob> originals;   // (token, logit before penalties)
  std::vector<uint32_t> counts;          // [vocabulary], zero between calls
  std::vector<float> block_max;
  std::vector<float> weights;
};

// `logits` [vocabulary] is scratch afterwards. NaN is an impossible token, as
// is -inf; +inf excludes every finite one. With nothing possible: token 0, of
// logprob -inf. Ids outside the vocabulary in `params` or `context` are
// ignored. REQUIRES: logits is not empty.
SampledToken Sample(std::span<float> logits, const SamplingParams& params,
                    const SamplingContext& context,
                    SamplingWorkspace& workspace);

// The logprob of a given token (a prompt's own next token) and the top ones.
// REQUIRES: `token` is inside the vocabulary.
SampledToken Score(std::span<const float> logits, TokenId token,
                   int32_t top_logprobs, SamplingWorkspace& workspace);

}  // namespace braid
