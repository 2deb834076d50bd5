// What a set of streams holds, in figures: enough to see a stream that was
// never trained, and two that are the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/parscale.h"
#include "model/tensor.h"

namespace braid {

struct TensorSummary {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  double min = 0, max = 0, rms = 0;
};

// The tensors of the set, by stream where they are of one: prefixes over all
// layers as [layers, kv_heads, prefix_tokens, head_dim].
std::vector<TensorSummary> Summarize(const ParscaleSet& set);

// Learned numbers of all prefixes, and of the aggregator.
struct ParscaleParameters {
  int64_t prefixes = 0, aggregator = 0;
};
ParscaleParameters CountParameters(const ParscaleSet& set);

}  // namespace braid
