// What the processor can do and the operating system lets us use.
#pragma once

namespace braid::cpu {

struct ProcessorFeatures {
  bool avx2 = false;         // with FMA and F16C
  bool avx_vnni = false;     // 256-bit dot products without AVX-512
  bool avx512_vnni = false;  // with F, BW, DQ and VL
  bool avx512_bf16 = false;
  bool amx = false;  // int8 and BF16, and the kernel granted the tile state
  // How far ahead loops that do little but read should ask for memory. Measured
  // on a Xeon; on Zen 4 anything up to 1 KiB, or nothing, reads 1.2 to 1.6
  // times as fast as 2.5 KiB does.
  int prefetch_bytes = 2560;
};

// Asked once. Asking also requests the tile state for this process: threads
// started later have it too.
const ProcessorFeatures& Processor();

}  // namespace braid::cpu
