// Reading the quantised blocks of a weight file as integers and their scales.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/tensor.h"

namespace braid::cpu {

// 32 columns of one row. Weight c is scales[c / 16] * (quants[c] - zero) +
// minimum, with the zero of the PackedFormat that the dtype becomes.
struct QuantisedBlock {
  uint8_t quants[32];
  float scales[2];
  float minimum;
};

// The b-th 32 columns of a row. REQUIRES: `dtype` is quantised.
QuantisedBlock ReadBlock(DType dtype, const std::byte* row, int64_t b);

}  // namespace braid::cpu
