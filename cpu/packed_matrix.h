// A weight matrix repacked once at load into the order its kernels read it.
// The bytes come from the caller, so that all weights of a model lie in one
// huge-page mapping.
//
// Immutable after packing; any number of threads may read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "model/tensor.h"

namespace braid::cpu {

// What the file's formats become. Rows are interleaved by 16 and padded with
// zeros to a multiple of 16; blocks have 32 columns unless stated.
enum class PackedFormat : uint8_t {
  kU4,     // unsigned nibbles, scale and minimum per block: Q4_0, Q4_1, Q4_K
  kU8,     // unsigned bytes, scale and minimum per block: Q5_0, Q5_1, Q5_K
  kS8,     // signed bytes, scale per block: Q8_0
  kS8x16,  // signed bytes, scale per 16 columns: Q6_K
  kF32,
  kF16,
  kBF16,  // floats, multiplied with float activations
};

struct PackedMatrix {
  PackedFormat format = PackedFormat::kF32;
  int64_t rows = 0;  // of the matrix, without padding
  int64_t columns = 0;
  const std::byte* data = nullptr;

  bool int8_inputs() const { return format < PackedFormat::kF32; }
};

inline constexpr int kRowTile = 16;

PackedFormat PackedFormatOf(DType dtype);
// Bytes that packing [rows, columns] of `dtype` needs; a multiple of 64.
size_t PackedBytes(DType dtype, int64_t rows, int64_t columns);
// Repacks rows [first_row, end_row) (multiples of kRowTile, but for the end) of
// `w` into `out` [PackedBytes(whole matrix)], so that threads can share the
// work. The result of packing the whole is what MatMul takes.
void PackRows(const Tensor& w, int64_t first_row, int64_t end_row,
              std::byte* out);
// One row of a packed matrix as floats: what the kernels multiply with.
void UnpackRow(const PackedMatrix& w, int64_t row, float* out);

}  // namespace braid::cpu
