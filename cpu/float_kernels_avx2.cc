#include "cpu/attention-inl.h"
#include "cpu/float_kernels_tables.h"
#include "cpu/simd_avx2.h"

namespace braid::cpu {

const FloatKernels kAvx2FloatKernels = MakeFloatKernels<avx2::Vec>();

}  // namespace braid::cpu
