// The tables behind FloatKernelsFor, each defined in a file compiled for its
// instruction set. Those of x86 exist on x86 alone.
#pragma once

#include "cpu/float_kernels.h"

namespace braid::cpu {

extern const FloatKernels kPortableFloatKernels;
extern const FloatKernels kAvx2FloatKernels;
extern const FloatKernels kAvx512FloatKernels;

}  // namespace braid::cpu
