// The kernels of one instruction set, as a table of functions. Chosen once at
// start; every table is compared with cpu/reference.h over random shapes.
//
// Bits: every output element is computed from its own row and its own token in
// one fixed order (blocks left to right; integer dot products inside a block,
// then float). It does not depend on the ranges asked for, on tiles, or on the
// other tokens. Different tables may differ in the last bits.
#pragma once

#include <cstddef>
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
  kAvx512Bf16,  // kAvx512 + dot products of bfloat16
  kAmx,  // kAvx512Bf16 + AMX tiles (int8, BF16), where the system grants them
};
std::string_view ToString(Isa isa);
// "auto" is the best this processor has. INVALID_ARGUMENT lists the names;
// FAILED_PRECONDITION when the processor lacks it.
absl::StatusOr<Isa> ParseIsa(std::string_view name);
Isa BestIsa();
// Those this processor can run, portable first.
std::vector<Isa> SupportedIsas();

// 32 columns of one token, rounded: column c is scale * quants[c]. One piece,
// so that a kernel addresses many tokens with few registers.
struct ActivationBlock {
  int8_t quants[kBlockColumns];
  float scale;
  // scale * the sum of the quants, and of those of each half: what the minimum
  // of a block of weights multiplies.
  float sum;
  float half_sums[2];
};
static_assert(sizeof(ActivationBlock) == 48);

// Activations [tokens][columns], as floats and as matrices of other formats see
// them. columns is a multiple of 32; all pointers are aligned to 64 bytes.
struct Activations {
  int32_t columns = 0;
  float* values = nullptr;            // [tokens][columns]
  ActivationBlock* blocks = nullptr;  // [tokens][columns / 32]
  // [tokens][columns], rounded to bfloat16, kept in the type that the table's
  // own products read: bfloat16 or float. Where it is null, BF16 matrices
  // multiply the values as they are.
  std::byte* rounded = nullptr;

  // What a matrix of floats multiplies, in tables whose products read floats.
  const float* FloatInputs(PackedFormat format) const;
};

// Far below what a model computes, and 127 / amax is still finite.
inline constexpr float kSmallestAmax = 1e-30f;

// Where the arrays of [tokens][columns] activations lie in one piece of memory
// of ActivationBytes, aligned to 64 bytes.
size_t ActivationBytes(int32_t tokens, int32_t columns);
Activations PlaceActivations(int32_t tokens, int32_t columns,
                             std::byte* memory);

struct Kernels {
  Isa isa;

  // Fills the blocks of tokens [first, end) from values:
  // scale = amax / 127, quant = value * (127 / amax) rounded to nearest even.
  // The same bits in every table. A block whose amax is below kSmallestAmax
  // becomes zeros; one with an infinity or a NaN gets a NaN scale, so that its
  // token's results are NaN.
  void (*quantize)(const Activations& x, int32_t first, int32_t end);

  // Fills `rounded` of tokens [first, end) from values: to nearest even; what
  // is below the smallest normal number may become zero.
  void (*round)(const Activations& x, int32_t first, int32_t end);

  // y[t * y_stride + r] = sum_c w[r][c] x[t][c], tokens [first_token,
  // end_token), rows [first_row, end_row), multiples of kRowTile but for the
  // end of the matrix. Writes zeros up to the next multiple of kRowTile:
  // y_stride has room for them.
  void (*matmul)(const PackedMatrix& w, const Activations& x,
                 int32_t first_token, int32_t end_token, int64_t first_row,
                 int64_t end_row, float* y, int64_t y_stride);
};

// REQUIRES: the processor supports it.
const Kernels& KernelsFor(Isa isa);

}  // namespace braid::cpu
