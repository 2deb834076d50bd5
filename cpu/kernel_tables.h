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
extern const Kernels kAmxKernels;

// Faster registers would not help it: all tables above share it.
void QuantizeAvx2(const Activations& x, int32_t first, int32_t end);
#endif

}  // namespace braid::cpu
