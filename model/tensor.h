// A named view of weights in a mapped file, in the format they have there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace braid {

// Element formats of weights. The quantised ones are GGML's block formats:
// blocks of 32 columns (Q4_0 .. Q8_0) or superblocks of 256 (the K formats).
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

const char* ToString(DType dtype);
// Columns per block (1 for plain floats) and bytes per block.
int BlockColumns(DType dtype);
int BlockBytes(DType dtype);

// A matrix [rows, columns], rows contiguous; a vector has rows == 1. A linear
// layer y = W x has W [outputs, inputs]. Does not own `data`; the ModelFile
// that made it does.
struct Tensor {
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;              // a multiple of BlockColumns(dtype)
  const std::byte* data = nullptr;  // may have any alignment

  bool empty() const { return data == nullptr; }
  size_t row_bytes() const {
    return static_cast<size_t>(columns / BlockColumns(dtype)) *
           static_cast<size_t>(BlockBytes(dtype));
  }
  size_t bytes() const { return static_cast<size_t>(rows) * row_bytes(); }
  const std::byte* row(int64_t r) const {
    return data + static_cast<size_t>(r) * row_bytes();
  }
};

// Writes the row's `columns` values as floats: the definition of each format.
void DequantizeRow(DType dtype, const std::byte* row, int64_t columns,
                   float* out);

float HalfToFloat(uint16_t half);
uint16_t FloatToHalf(float value);  // round to nearest even
float BFloat16ToFloat(uint16_t bfloat16);
uint16_t FloatToBFloat16(float value);  // round to nearest even

}  // namespace braid
