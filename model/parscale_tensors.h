// From the tensors of a file to a ParscaleSet: what both kinds have in common.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "model/parscale.h"
#include "model/safetensors.h"
#include "model/tensor.h"

namespace braid {

// Takes a tensor out of `file`, so that what is left over was not understood.
// INVALID_ARGUMENT when it is missing, has another shape, or holds a value that
// is not finite.
absl::StatusOr<Tensor> TakeFinite(SafetensorsFile& file,
                                  const std::string& name,
                                  std::initializer_list<int64_t> shape);

// Rows [first, first + rows) of a tensor.
Tensor RowsOf(const Tensor& tensor, int64_t first, int64_t rows);

// Views of what a file holds.
struct ParscaleTensors {
  // At [stream][layer]: [kv_heads * prefix_tokens, head_dim]; no layers for a
  // stream without a prefix.
  std::vector<std::vector<Tensor>> prefix_k, prefix_v;
  Tensor w1;  // [hidden, streams * hidden]: hidden slow, stream fast
  Tensor b1;  // [1, hidden]
  Tensor w2;  // [streams, hidden]
  Tensor b2;  // [1, streams]
};

// Takes w1, b1, w2 and b2 as TakeFinite does; `names` in that order.
absl::Status TakeAggregator(SafetensorsFile& file,
                            std::span<const char* const, 4> names,
                            int32_t streams, int32_t hidden,
                            ParscaleTensors& tensors);

// Copies the tensors into memory of the set's own, keys reordered to halves and
// w1 taken apart by stream, and computes the fingerprint. The set's plain
// fields are filled in already.
void FillParscaleSet(const ParscaleTensors& tensors, RopePairing key_layout,
                     ParscaleSet& set);

// A field of a set of streams: INVALID_ARGUMENT unless it is in [low, high].
absl::Status CheckField(const char* field, double value, double low,
                        double high);

}  // namespace braid
