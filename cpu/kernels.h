// The kernels of one instruction set, as a table of functions. Chosen once at
// start; every table is compared with cpu/reference.h over random shapes.
//
// Bits: every output element is computed from its own row and its own token in
// one fixed order (blocks left to right; integer dot products inside a block,
// then float). It does not depend on the ranges asked for, on tiles, or on the
// other tokens. Different tables may differ in the last bits.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cpu/packed_matrix.h"

namespace braid::cpu {

enum class Isa : uint8_t {
  kPortable,
  kAvx2,        // AVX2 + FMA + F16C
  kAvxVnni,     // kAvx2 + AVX-VNNI
  kAvx512,      // F, BW, DQ, VL + VNNI
  kAvx512Bf16,  // kAvx512 + BF16
  kAmx,  // kAvx512Bf16 + AMX tiles for int8, where the kernel grants them
};
std::string_view ToString(Isa isa);
// "auto" is the best this processor has. INVALID_ARGUMENT lists the names;
// FAILED_PRECONDITION when the processor lacks it.
absl::StatusOr<Isa> ParseIsa(std::string_view name);
Isa BestIsa();
// Those this processor can run, portable first.
std::vector<Isa> SupportedIsas();

// Activations [tokens][columns], both as floats and as int8 blocks of 32.
// Element (t, c): values[t * columns + c] ~ quants[t * columns + c] * scales[t
// * (columns/32) + c/32]. sums[...] is the sum of a block's quants; sums16 of
// each half. columns is a multiple of 32; every pointer is aligned to 64 bytes.
struct Activations {
  int32_t columns = 0;
  float* values = nullptr;
  int8_t* quants = nullptr;
  float* scales = nullptr;
  int32_t* sums = nullptr;
};

struct Kernels {
  Isa isa;

  // Fills quants, scales and sums of tokens [first, end) from values.
  // scale = amax / 127, round to nearest even.
  void (*quantize)(const Activations& x, int32_t first, int32_t end);

  // y[t * y_stride + r] = sum_c w[r][c] x[t][c], tokens [first_token,
  // end_token), rows [first_row, end_row), multiples of kRowTile but for the
  // end of the matrix. May write zeros up to the next multiple of kRowTile.
  void (*matmul)(const PackedMatrix& w, const Activations& x,
                 int32_t first_token, int32_t end_token, int64_t first_row,
                 int64_t end_row, float* y, int64_t y_stride);
};

// REQUIRES: the processor supports it.
const Kernels& KernelsFor(Isa isa);

}  // namespace braid::cpu
