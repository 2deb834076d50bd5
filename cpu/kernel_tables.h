// The tables, one per translation unit, each compiled for its instruction set.
// Nothing here may be called before SupportedIsas() has been asked.
//
// Such a unit must not instantiate inline functions that other units share
// (std containers, absl): the linker keeps one copy of each, and it might keep
// the one that only runs here.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"

namespace braid::cpu {

extern const Kernels kPortableKernels;
#ifdef BRAID_X86
extern const Kernels kAvx2Kernels;
extern const Kernels kAvxVnniKernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;
extern const Kernels kAmxKernels;

// Faster registers would not help it: all tables above share it.
void QuantizeAvx2(const Activations& x, int32_t first, int32_t end);
// To floats, for tables without BF16 instructions, and to bfloat16.
void RoundAvx2(const Activations& x, int32_t first, int32_t end);
void RoundBf16(const Activations& x, int32_t first, int32_t end);
// Matmul of BF16 weights on AMX tiles. REQUIRES: x.rounded.
void MatmulAmxBf16(const PackedMatrix& w, const Activations& x,
                   int32_t first_token, int32_t end_token, int64_t first_row,
                   int64_t end_row, float* y, int64_t y_stride);
#endif

}  // namespace braid::cpu
