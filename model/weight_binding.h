// From named tensors to ModelWeights: which name is which matrix, and that
// each has the shape its place needs. Shared by the readers of all formats.
#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "model/model_file.h"

namespace braid {

using NamedTensors = absl::flat_hash_map<std::string, Tensor>;

// How a format spells tensor names. Layer names are layer_prefix, the layer's
// number, ".", and a stem; linear layers and norms end in ".weight", biases
// in ".bias".
struct WeightNames {
  const char* embedding;
  const char* output_norm;
  const char* output;
  const char* layer_prefix;
  const char *attention_norm, *q, *k, *v, *q_norm, *k_norm, *o;
  const char *ffn_norm, *gate, *up, *down;
};
extern const WeightNames kGgufWeightNames;
extern const WeightNames kHuggingFaceWeightNames;

// REQUIRES: Validate(config) is OK. INVALID_ARGUMENT for a missing tensor or a
// wrong shape; UNIMPLEMENTED for one that the architecture has no place for,
// since leaving it out would compute another model.
absl::StatusOr<ModelWeights> BindWeights(const ModelConfig& config,
                                         NamedTensors tensors,
                                         const WeightNames& names);

}  // namespace braid
