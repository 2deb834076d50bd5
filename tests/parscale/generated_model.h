// Tiny models with streams whose weights are a formula, so that C++ and Python
// (golden/generated_model.py) have the same without a file between them.
//
// Value i of a tensor is centre + spread * (2 u - 1), with u in [0, 1) of
//   z = FNV-1a-64("<model>/<tensor>") + (i + 1) * 0x9E3779B97F4A7C15
//   z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9
//   z = (z ^ z >> 27) * 0x94D049BB133111EB      (SplitMix64)
//   u = ((z ^ z >> 31) >> 11) / 2^53
// in double, rounded to float and then to the model's format. Centre and spread
// are set by what the tensor is (`Add...` in generated_model.cc).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "model/model_config.h"
#include "model/tensor.h"
#include "tests/model/safetensors_builder.h"

namespace braid::parscale {

// An entry of golden/cases.json.
struct Case {
  std::string name;
  bool nested = false;
  std::string architecture;  // qwen2, llama
  int32_t streams = 1, prefix_tokens = 0;
  double smoothing = 0;
  DType dtype = DType::kF32;
  int32_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
  int32_t layers = 0, vocabulary = 0;
  bool tied = false;
  double prefix_spread = 2.5;  // the keys of these models have as much
};
std::vector<Case> ReadCases();

// `count` values of a tensor of model `model`, as floats.
std::vector<float> GeneratedValues(const std::string& model,
                                   const std::string& tensor, int64_t count,
                                   double centre, double spread);
// Tokens of a text: u * vocabulary, rounded down, of the tensor "tokens".
std::vector<TokenId> GeneratedTokens(const Case& c, size_t count);

// Writes config.json and model.safetensors into a folder, which is made. Of a
// published model the streams are in it; of a nested one it is the base.
void WriteModel(const Case& c, const std::string& folder);

// The adapter of a nested case, for a base with this sum. Keys are made for
// halves, and reordered where the file is to have another layout.
SafetensorsBuilder MakeAdapter(const Case& c, const std::string& base_sha256,
                               RopePairing layout = RopePairing::kHalves);

// Row `from` of each head of `head_dim` rows goes to its place in a layout of
// adjacent pairs: for q, k and prefix keys made for halves.
int64_t ToAdjacent(int64_t from, int64_t head_dim);

}  // namespace braid::parscale
