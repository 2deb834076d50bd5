#include "cpu/float_kernels.h"

#include "base/check.h"
#include "cpu/float_kernels_tables.h"

namespace braid::cpu {

const FloatKernels& FloatKernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return kPortableFloatKernels;
#ifdef BRAID_X86
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return kAvx2FloatKernels;
    case Isa::kAvx512:
    case Isa::kAvx512Bf16:
    case Isa::kAmx:
      return kAvx512FloatKernels;
#else
    default:
      break;
#endif
  }
  BRAID_CHECK_MSG(false, "unknown instruction set");
}

}  // namespace braid::cpu
