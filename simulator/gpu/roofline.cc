#include "simulator/gpu/roofline.h"

#include <algorithm>
#include <cmath>

namespace braid::gpu {
namespace {

double Flops(const GpuSystem& system, WeightFormat format) {
  switch (format) {
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Block:
      return system.fp8_flops;
    case WeightFormat::kNvfp4:
      return system.fp4_flops;
    case WeightFormat::kMxfp4:  // where there is arithmetic for it, with fp8
      return system.fp4_flops > system.fp8_flops ? system.fp8_flops
                                                 : system.bf16_flops;
    case WeightFormat::kBf16:
    case WeightFormat::kInt4:  // unpacked, multiplied in bf16
      return system.bf16_flops;
  }
  return system.bf16_flops;
}

double ActivationBytes(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Block:
      return 1;
    case WeightFormat::kNvfp4:
      return 0.5625;
    default:
      return 2;
  }
}

}  // namespace

double WeightBytes(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
      return 2;
    case WeightFormat::kFp8:
    case WeightFormat::kFp8Block:
      return 1;
    case WeightFormat::kNvfp4:
      return 0.5625;  // a scale of 8 bits for 16 weights
    case WeightFormat::kInt4:
    case WeightFormat::kMxfp4:
      return 0.53125;  // 8 bits for 32
  }
  return 2;
}

double GemmRoofline(const GpuSystem& s, WeightFormat format, double m, double n,
                    double k) {
  const double bytes =
      n * k * WeightBytes(format) + m * k * ActivationBytes(format) + 2 * m * n;
  return std::max(2 * m * n * k / Flops(s, format), bytes / s.memory_bandwidth);
}

double ExpertRoofline(const GpuSystem& s, const ExpertShape& e, double tokens) {
  const double local = static_cast<double>(e.experts) / e.expert_parallel;
  const double touched =
      local * -std::expm1(tokens * e.topk * std::log1p(-1.0 / e.experts));
  const double matrix = 3.0 * e.hidden * e.ffn / e.tensor_parallel;
  const double flops = tokens * e.topk / e.expert_parallel * 2 * matrix;
  const double bytes =
      touched * matrix * WeightBytes(e.format) + tokens * e.hidden * 4;
  return flops / Flops(s, e.format) + bytes / s.memory_bandwidth;
}

}  // namespace braid::gpu
