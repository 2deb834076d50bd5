// A weight matrix repacked once at load into the order its kernels read it.
// The bytes come from the caller, so that all weights of a model lie in one
// huge-page mapping.
//
// Rows go in tiles of 16, columns in blocks of 32: a tile's blocks follow each
// other from left to right, each with its quants, then its scales and minima,
// then the next tile. A step reads the matrix as one stream, and touches
// every byte once. The tail of the last tile is zeros.
//
//   quants  4 columns of 16 rows make 64 bytes (row r, column c: byte 4 r + c
//           of them), the operand of a 512-bit dot-product instruction and
//           a row of an AMX tile. Nibble formats put column c in the low and
//           column 16 + c in the high half of one byte.
//   scales  16 values, by row; minima likewise.
//   floats  column after column, 16 rows each; of BF16, pairs of columns: for
//           each of 16 rows both, as its dot-product instructions take them.
//
// Immutable after packing; any number of threads may read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/tensor.h"

namespace braid::cpu {

// What the file's formats become. A weight is scale * quant + minimum, or
// scale * (quant - zero), with the quant stored unsigned: that is what the
// dot-product instructions take. Scales that are products in the file (the K
// formats) are kept as floats, so that no bit of them is lost.
enum class PackedFormat : uint8_t {
  kU4,       // nibbles, half scale and minimum: Q4_1
  kU4Float,  // nibbles, float scale and minimum: Q4_K
  kS4,       // nibbles, zero is 8, half scale: Q4_0
  kU5,       // bytes below 32, float scale and minimum: Q5_1, Q5_K
  kU6x16,    // bytes below 64, zero is 32, float scale per 16 columns: Q6_K
  kS8,       // bytes, zero is 128, half scale: Q5_0, Q8_0
  kF32,      // multiplied with float activations
  kF16,      // likewise
  kBF16,     // multiplied with activations rounded to bfloat16
};
inline constexpr int kPackedFormats = 9;

struct PackedMatrix {
  PackedFormat format = PackedFormat::kF32;
  int64_t rows = 0;     // of the matrix, without padding
  int64_t columns = 0;  // a multiple of 32
  const std::byte* data = nullptr;

  bool int8_inputs() const { return format < PackedFormat::kF32; }
};

inline constexpr int kRowTile = 16;
inline constexpr int kBlockColumns = 32;

PackedFormat PackedFormatOf(DType dtype);
// Bytes of a block: 16 rows by 32 columns with their scales and minima.
int PackedBlockBytes(PackedFormat format);
// Bytes that packing [rows, columns] of `dtype` needs; a multiple of 64.
// REQUIRES: columns is a multiple of 32.
size_t PackedBytes(DType dtype, int64_t rows, int64_t columns);
// Repacks rows [first_row, end_row) (multiples of kRowTile, but for the end) of
// `w` into `out` [PackedBytes(whole matrix)], so that threads can share the
// work. The result of packing the whole is what matmul takes.
void PackRows(const Tensor& w, int64_t first_row, int64_t end_row,
              std::byte* out);
// One row of a packed matrix as floats: what the kernels multiply with.
void UnpackRow(const PackedMatrix& w, int64_t row, float* out);

}  // namespace braid::cpu
