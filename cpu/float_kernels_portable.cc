#include "cpu/attention-inl.h"
#include "cpu/float_kernels_tables.h"
#include "cpu/simd_portable.h"

namespace braid::cpu {

const FloatKernels kPortableFloatKernels = MakeFloatKernels<portable::Vec>();

}  // namespace braid::cpu
