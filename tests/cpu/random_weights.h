// Random weights in every file format, and memory for the kernels' inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "cpu/kernels.h"
#include "model/tensor.h"

namespace braid::cpu {

inline constexpr DType kAllDTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16,
                                       DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                       DType::kQ5_1, DType::kQ8_0, DType::kQ4_K,
                                       DType::kQ5_K, DType::kQ6_K};

// Memory aligned to 64 bytes, with a page after it that kernels may prefetch.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t bytes) : bytes_(bytes + 64) {}
  std::byte* data() {
    const auto start = reinterpret_cast<uintptr_t>(bytes_.data());
    return bytes_.data() + (64 - start % 64) % 64;
  }

 private:
  std::vector<std::byte> bytes_;
};

// A matrix whose bytes are random, but for the scales: those lie in [-0.1,
// 0.1].
class RandomWeights {
 public:
  RandomWeights(DType dtype, int64_t rows, int64_t columns, Rng& rng);
  const Tensor& tensor() const { return tensor_; }

 private:
  std::vector<std::byte> bytes_;
  Tensor tensor_;
};

// The same, packed.
class Packed {
 public:
  explicit Packed(const Tensor& w);
  const PackedMatrix& matrix() const { return matrix_; }

 private:
  AlignedBytes bytes_;
  PackedMatrix matrix_;
};

// Activations with values of a normal-like spread, rounded by `isa`.
class RandomActivations {
 public:
  RandomActivations(int32_t tokens, int32_t columns, Rng& rng, Isa isa);
  const Activations& x() const { return x_; }

 private:
  AlignedBytes bytes_;
  Activations x_;
};

}  // namespace braid::cpu
