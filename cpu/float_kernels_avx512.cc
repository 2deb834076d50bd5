#include "cpu/attention-inl.h"
#include "cpu/float_kernels_tables.h"
#include "cpu/simd_avx512.h"

namespace braid::cpu {

const FloatKernels kAvx512FloatKernels = MakeFloatKernels<avx512::Vec>();

}  // namespace braid::cpu
