// Small models of random weights, in any shape and format.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/rng.h"
#include "cpu/cpu_runner.h"
#include "model/model_file.h"
#include "tests/cpu/random_weights.h"

namespace braid::cpu {

struct TinyShape {
  const char* name = "";
  DType dtype = DType::kQ4_1;
  DType value_dtype = DType::kQ4_1;  // of v and down, as in mixed files
  int32_t hidden = 96, heads = 3, kv_heads = 1, head_dim = 32, ffn = 160;
  int32_t layers = 2;
  RopePairing pairing = RopePairing::kAdjacent;
  RopeScaling scaling = RopeScaling::kNone;
  bool tied = true, biases = false, head_norms = false;
};

class TinyModel {
 public:
  // A vocabulary that fills no tile.
  static constexpr int32_t kVocabulary = 83;

  explicit TinyModel(const TinyShape& shape) : rng_(11) {
    config_.layers = shape.layers;
    config_.hidden = shape.hidden;
    config_.heads = shape.heads;
    config_.kv_heads = shape.kv_heads;
    config_.head_dim = shape.head_dim;
    config_.ffn = shape.ffn;
    config_.vocabulary = kVocabulary;
    config_.context = 512;
    config_.rope.pairing = shape.pairing;
    config_.rope.scaling = shape.scaling;
    if (shape.scaling != RopeScaling::kNone) {
      config_.rope.factor = 4;
      config_.rope.original_context = 64;
    }
    config_.tied_embeddings = shape.tied;
    const int32_t q = shape.heads * shape.head_dim;
    const int32_t kv = shape.kv_heads * shape.head_dim;
    for (int32_t i = 0; i < shape.layers; ++i) {
      LayerWeights layer;
      layer.attention_norm = Vector(shape.hidden, 0.1f);
      layer.q = Matrix(shape.dtype, q, shape.hidden);
      layer.k = Matrix(shape.dtype, kv, shape.hidden);
      layer.v = Matrix(shape.value_dtype, kv, shape.hidden);
      if (shape.biases) {
        layer.q_bias = Vector(q, 1);
        layer.k_bias = Vector(kv, 1);
        layer.v_bias = Vector(kv, 1);
      }
      if (shape.head_norms) {
        layer.q_norm = Vector(shape.head_dim, 1);
        layer.k_norm = Vector(shape.head_dim, 1);
      }
      layer.o = Matrix(shape.dtype, shape.hidden, q);
      layer.ffn_norm = Vector(shape.hidden, 0.1f);
      layer.gate = Matrix(shape.dtype, shape.ffn, shape.hidden);
      layer.up = Matrix(shape.dtype, shape.ffn, shape.hidden);
      layer.down = Matrix(shape.value_dtype, shape.hidden, shape.ffn);
      weights_.layers.push_back(layer);
    }
    weights_.output_norm = Vector(shape.hidden, 0.1f);
    weights_.output = Matrix(shape.dtype, kVocabulary, shape.hidden);
    weights_.embedding = shape.tied
                             ? weights_.output
                             : Matrix(shape.dtype, kVocabulary, shape.hidden);
  }

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  ModelConfig& config() { return config_; }
  ModelWeights& weights() { return weights_; }

  // Keeps bytes that a changed weight shows.
  std::byte* Keep(std::vector<std::byte> bytes) {
    kept_.push_back(std::move(bytes));
    return kept_.back().data();
  }

  std::shared_ptr<const CpuModel> Pack(Isa isa) const {
    auto model = CpuModel::Pack(config_, weights_, isa, 2);
    BRAID_CHECK_MSG(model.ok(), model.status().ToString());
    return *model;
  }

  std::vector<TokenId> RandomTokens(size_t n, uint64_t seed) const {
    Rng rng(seed);
    std::vector<TokenId> tokens(n);
    for (TokenId& t : tokens) {
      t = static_cast<TokenId>(rng() % uint64_t{kVocabulary});
    }
    return tokens;
  }

 private:
  Tensor Matrix(DType dtype, int64_t rows, int64_t columns) {
    matrices_.emplace_back(dtype, rows, columns, rng_);
    return matrices_.back().tensor();
  }
  // Values around `scale`: small ones keep the products of weights of a few
  // units in the range that trained models have.
  Tensor Vector(int64_t n, float scale) {
    std::vector<std::byte> bytes(static_cast<size_t>(n) * sizeof(float));
    auto* values = reinterpret_cast<float*>(bytes.data());
    for (int64_t i = 0; i < n; ++i) {
      values[i] = scale * static_cast<float>(0.5 + rng_.Uniform());
    }
    return {DType::kF32, 1, n, Keep(std::move(bytes))};
  }

  Rng rng_;
  ModelConfig config_;
  ModelWeights weights_;
  std::deque<RandomWeights> matrices_;
  std::deque<std::vector<std::byte>> kept_;
};

}  // namespace braid::cpu
