// A model as an engine serves it on GPUs: what a GpuServing names, found in the
// profiles and divided among them, and the memory that it takes there.
//
// Immutable; refers to the profiles, which outlive it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "simulator/gpu/gpu_profiles.h"

namespace braid::gpu {

// One worker: what it serves, on what, divided how.
struct GpuServing {
  std::string model;   // as in profiles/models.csv: "Qwen/Qwen3-32B"
  std::string system;  // as in profiles/systems.csv: "h200_sxm"
  ServingEngine engine = ServingEngine::kVllm;
  WeightFormat weights = WeightFormat::kFp8;
  WeightFormat expert_weights = WeightFormat::kFp8;
  KvFormat kv = KvFormat::kBf16;
  int tensor_parallel = 1;  // of attention and dense layers
  int pipeline_parallel = 1;
  // Groups that attend to their own requests; the experts span all of them.
  int attention_data_parallel = 1;
  int expert_tensor_parallel = 1;  // experts: these two multiply to the GPUs
  int expert_parallel = 1;
  int streams = 1;  // PARSCALE: most that a request has
};

struct ServedModel {
  // Fails with the remedy when the model or the system is unknown, or a
  // parallel size is none.
  static absl::StatusOr<ServedModel> Find(const GpuProfiles& profiles,
                                          const GpuServing& serving);

  const ModelShape& model;
  const GpuSystem& system;
  const EngineHabits& habits;
  GpuServing serving;
  WeightFormat dense, experts;  // as they are stored
  int heads, kv_heads;          // of one GPU

  // EngineHabits::block_weights where it applies.
  double OfBlocks(WeightFormat format) const;

  // Bytes on one GPU: of the weights, of the KV of one token, and what engines
  // are told to use for both.
  double WeightBytesOfGpu() const;
  double KvBytesOfGpu() const;
  double UsableBytesOfGpu() const;
  // Of all GPUs of the worker together; replicated KV heads count once.
  double KvBytesPerToken() const;
};

}  // namespace braid::gpu
