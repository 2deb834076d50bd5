// PARSCALE sets (model/parscale.h) as the forward pass reads them: the network
// that weighs streams, packed; and prefixes as KV blocks, one copy for all
// requests.
//
// Immutable once made; any number of threads may read them.
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
#include "kvcache/kv_layout.h"
#include "model/model_config.h"
#include "model/parscale.h"

namespace braid::cpu {

struct PackedStreams {
  ParscaleKind kind = ParscaleKind::kNested;
  int32_t streams = 1;
  int32_t prefix_tokens = 0;
  float smoothing = 0;
  std::vector<PackedMatrix> w1;  // by stream: [hidden, hidden]
  std::vector<float> b1;         // [hidden]
  std::vector<float> w2;         // [streams][hidden]
  std::vector<float> b2;         // [streams]
  // At [stream][layer]: [kv_heads * prefix_tokens, head_dim] as in the file,
  // with keys in the order that packed models rotate in. Empty where a stream
  // has no prefix.
  std::vector<std::vector<std::vector<float>>> prefix_k, prefix_v;

  HugeMemory memory;  // behind w1
  size_t weight_bytes = 0;

  int32_t PrefixOf(int32_t stream) const {
    return prefix_k[stream].empty() ? 0 : prefix_tokens;
  }
};

// INVALID_ARGUMENT, naming the set, when a shape is not that of the model;
// UNIMPLEMENTED when a matrix is not of floats.
absl::StatusOr<PackedStreams> PackStreams(const ModelConfig& config,
                                          const ParscaleSet& set);

// The prefixes of all sets as blocks of an arena's layout and dtype.
//
// A prefix ends where its last block ends, so that the sequence's own blocks
// follow it as they are. What is left of its first block has no effect.
class PrefixPages final {
 public:
  // RESOURCE_EXHAUSTED when there is no memory for them.
  static absl::StatusOr<std::shared_ptr<const PrefixPages>> Make(
      std::span<const PackedStreams> sets, const KvLayout& layout, Isa isa);

  // Of a stream of a set, counted from 1. Empty without a prefix.
  struct Prefix {
    std::span<const std::byte* const> blocks;
    int32_t first = 0;  // slot of its first token
  };
  Prefix Find(uint32_t set, uint32_t stream) const;

  const KvLayout& layout() const { return layout_; }

 private:
  explicit PrefixPages(const KvLayout& layout) : layout_(layout) {}

  struct Place {
    size_t first_block;
    size_t blocks;
    int32_t first;
  };
  const KvLayout layout_;
  HugeMemory memory_;
  std::vector<const std::byte*> blocks_;
  std::vector<std::vector<Place>> places_;  // [set - 1][stream]
};

}  // namespace braid::cpu
