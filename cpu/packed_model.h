// A model's weights as the forward pass reads them.
//
// RoPE rotates pairs (i, i + head_dim / 2) here, whatever the file says: where
// it pairs neighbours, the rows of q and k are reordered when packed. Scores do
// not change, since q and k are reordered alike.
//
// Immutable once packed; any number of threads may read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/huge_memory.h"
#include "cpu/kernels.h"
#include "cpu/packed_matrix.h"
#include "cpu/parscale_weights.h"
#include "model/model_config.h"
#include "model/model_file.h"

namespace braid::cpu {

struct PackedLayer {
  std::vector<float> attention_norm, ffn_norm;  // [hidden]
  PackedMatrix q, k, v, o, gate, up, down;
  std::vector<float> qkv_bias;        // [q rows + k rows + v rows], or empty
  std::vector<float> q_norm, k_norm;  // [head_dim], or empty
};

struct PackedModel {
  ModelConfig config;
  Isa isa = Isa::kPortable;
  RopeTable rope;
  std::vector<PackedLayer> layers;
  std::vector<float> output_norm;
  PackedMatrix output;
  // The embedding as the file has it; empty when tied: rows of `output` then.
  Tensor embedding;
  std::vector<PackedStreams> sets;  // PARSCALE; set i is sets[i - 1]

  HugeMemory memory;  // behind the matrices and the embedding
  size_t weight_bytes = 0;

  int32_t q_width() const { return config.heads * config.head_dim; }
  int32_t kv_width() const { return config.kv_heads * config.head_dim; }
  int32_t qkv_width() const { return q_width() + 2 * kv_width(); }
};

absl::StatusOr<std::unique_ptr<const PackedModel>> PackModel(
    const ModelConfig& config, const ModelWeights& weights, Isa isa,
    int threads, std::span<const ParscaleSet> sets);

}  // namespace braid::cpu
