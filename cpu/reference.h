// The scalar reference: a transformer's forward pass in plain C++ that reads
// like the papers. It is the definition of what the fast kernels and every
// other backend compute. Slow on purpose; no cache, no threads, no tricks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "model/model_config.h"
#include "model/model_file.h"
#include "model/parscale.h"

namespace braid::reference {

// How the inputs of linear layers are seen.
enum class LinearInputs : uint8_t {
  kFloat,         // as they are
  kInt8Blocks32,  // rounded to int8 per block of 32 columns, scale amax / 127
  kBFloat16,      // by BF16 matrices rounded to bfloat16, by others as they are
};

// Logits [tokens.size()][vocabulary] of a whole sequence.
std::vector<float> Forward(const ModelConfig& config,
                           const ModelWeights& weights,
                           std::span<const TokenId> tokens,
                           LinearInputs inputs = LinearInputs::kFloat);

// The same of the first `streams` streams of a PARSCALE set together: each
// reads the tokens behind its own prefix, and their hidden states are mixed
// (which always sees them as floats). REQUIRES: all of them when the set is a
// published one.
std::vector<float> Forward(const ModelConfig& config,
                           const ModelWeights& weights, const ParscaleSet& set,
                           int32_t streams, std::span<const TokenId> tokens,
                           LinearInputs inputs = LinearInputs::kFloat);

// The operators, for tests of the fast ones.
// y = x / rms(x) * weight
void RmsNorm(std::span<const float> x, std::span<const float> weight,
             float epsilon, std::span<float> y);
// Rotates one head in place for `position`.
void Rope(const RopeTable& table, RopePairing pairing, uint32_t position,
          std::span<float> head);
// PARSCALE's aggregation: one row of what several streams, [streams][hidden],
// leave after the final norm.
std::vector<float> MixStreams(const ParscaleSet& set,
                              std::span<const std::vector<float>> streams);
// y[r] = sum_c W[r][c] x[c] (+ bias[r]), accumulated in double.
void Linear(const Tensor& w, std::span<const float> x,
            std::span<const float> bias, std::span<float> y);
// Rounds to int8 per block of 32 and back.
void RoundToInt8Blocks(std::span<float> x);

}  // namespace braid::reference
