// How long a step takes on GPUs that are not here, from tables measured on
// them (simulator/profiles):
//
//   seconds = step overhead
//           + dense(tokens)                 GEMMs, MoE, norms, all-reduce, head
//           + aggregation(drawn rows)       where rows of PARSCALE streams are
//           + decode attention(rows, context)
//           + sum over chunks of prompt attention(before, count)
//
// Each term is a grid filled once by Load, from the tables where they cover the
// shape and from a derated roofline where they do not; asking is a few
// interpolations. Deterministic: the same profiles give the same bits.
//
// Thread safety: immutable after Load; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "simulator/gpu/gpu_profiles.h"
#include "simulator/gpu/served_model.h"

namespace braid::gpu {

// `count` tokens of a prompt behind `before` others of it.
struct PromptChunk {
  uint32_t before = 0;
  uint32_t count = 0;
};

class GpuStepTime final {
 public:
  // Fails with the remedy when the model or system is unknown, or the weights
  // leave no memory for KV. REQUIRES: `profiles` outlives the call only.
  static absl::StatusOr<GpuStepTime> Load(const GpuProfiles& profiles,
                                          const GpuServing& serving);

  // Seconds of one step of the worker. A chunk runs on one attention group, and
  // the fullest group is waited for. `decode_attended` is summed over the
  // rows. An empty step takes no time. `stream_rows`: of
  // requests' further PARSCALE streams, one token each, with KV of their own,
  // which `decode_attended` counts too; they have no output head. REQUIRES:
  // GpuServing::streams > 1 where there are any.
  double Seconds(absl::Span<const PromptChunk> chunks, uint32_t decode_rows,
                 uint64_t decode_attended, uint32_t stream_rows = 0) const;

  // Of all GPUs of the worker together; replicated KV heads count once.
  uint64_t kv_bytes_per_token() const;
  // What is left beside the weights, in tokens of all requests together.
  uint64_t kv_capacity_tokens() const;
  int gpus() const;
  // Each attends to its own share of the rows (attention data parallel).
  uint32_t attention_groups() const;

  // Opaque; gpu_step_time.cc.
  struct Grids;

 private:
  explicit GpuStepTime(std::shared_ptr<const Grids> grids);
  // Shared: copies of a worker's model are one set of grids.
  std::shared_ptr<const Grids> grids_;
};

}  // namespace braid::gpu
