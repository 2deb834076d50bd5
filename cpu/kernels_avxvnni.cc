// AVX-VNNI: the dot-product instruction with 256-bit registers.
#include "cpu/avx2_matmul.h"
#include "cpu/kernel_tables.h"

namespace braid::cpu {
namespace {

struct VnniDot {
  // Every zero point becomes a minimum.
  template <PackedFormat>
  static constexpr bool kTakesZero = false;

  template <PackedFormat>
  static void Prepare(__m256i*) {}

  template <PackedFormat, int kGroups>
  static __m256i Product(const __m256i* weights, const int8_t* quants) {
    __m256i dot = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) {
      dot = _mm256_dpbusd_avx_epi32(dot, weights[g],
                                    BroadcastFour(quants + 4 * g));
    }
    return dot;
  }
};

}  // namespace

const Kernels kAvxVnniKernels = {Isa::kAvxVnni, QuantizeAvx2, RoundAvx2,
                                 Matmul<VnniDot>};

}  // namespace braid::cpu
