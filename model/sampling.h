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

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // over prompt and output
  float presence_penalty = 0.0f;    // over output
  float frequency_penalty = 0.0f;   // over output
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;
  int32_t min_tokens = 0;  // end_of_generation is impossible before that many
  bool ignore_eos = false;
  // Alternatives to report; -1: no logprobs at all; 0: the chosen one's only.
  int32_t top_logprobs = -1;

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
  friend bool operator==(const SampledToken&, const SampledToken&) = default;
};

// What a draw depends on besides the logits.
struct SamplingContext {
  std::span<const TokenId> prompt;
  std::span<const TokenId> output;  // sampled so far
  uint64_t position = 0;            // of the token to be drawn
  std::span<const TokenId> end_of_generation;
};

// `logits` [vocabulary] is scratch afterwards. `workspace` is reused between
// calls to avoid allocation.
struct SamplingWorkspace {
  std::vector<TokenLogprob> candidates;
  std::vector<uint32_t> counts;
};
SampledToken Sample(std::span<float> logits, const SamplingParams& params,
                    const SamplingContext& context,
                    SamplingWorkspace& workspace);

// The logprob of a given token (a prompt's own next token) and the top ones.
SampledToken Score(std::span<const float> logits, TokenId token,
                   int32_t top_logprobs, SamplingWorkspace& workspace);

}  // namespace braid
