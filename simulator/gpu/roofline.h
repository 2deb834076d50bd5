// What a kernel would take if the arithmetic and the memory of its GPU were all
// that mattered: seconds, from the constants of the system.
#pragma once

#include "simulator/gpu/gpu_profiles.h"

namespace braid::gpu {

// Of one layer, divided among GPUs.
struct ExpertShape {
  WeightFormat format = WeightFormat::kBf16;
  int hidden = 0, ffn = 0, topk = 0, experts = 0;
  int tensor_parallel = 1, expert_parallel = 1;
};

// Bytes of a weight, with its scales.
double WeightBytes(WeightFormat format);

// Activations [m][k] by weights [n][k]: the longer of arithmetic and memory.
double GemmRoofline(const GpuSystem& system, WeightFormat format, double m,
                    double n, double k);

// The weights of the experts that one of `tokens` was routed to, and then the
// arithmetic.
double ExpertRoofline(const GpuSystem& system, const ExpertShape& shape,
                      double tokens);

}  // namespace braid::gpu
