// AVX2 without dot-product instructions: bytes are multiplied and added in
// pairs to 16 bits, as many of them as cannot overflow, then widened.
#include "cpu/avx2_matmul.h"
#include "cpu/kernel_tables.h"

namespace braid::cpu {
namespace {

// How many products of pairs fit in 16 bits: quants of weights times 127 twice.
constexpr int SafeSums(PackedFormat format) {
  switch (format) {
    case PackedFormat::kU5:
      return 4;  // 4 * 2 * 31 * 127 = 31,496
    case PackedFormat::kU6x16:
      return 2;  // 2 * 2 * 63 * 127 = 32,004
    case PackedFormat::kS8:
      return 1;  // 2 * 128 * 127 = 32,512
    default:
      return 8;  // 8 * 2 * 15 * 127 = 30,480
  }
}

struct MultiplyAddDot {
  // Unsigned bytes up to 255 would overflow in pairs: these are made signed,
  // and the sign of each weight is moved to the activation.
  template <PackedFormat kFormat>
  static constexpr bool kTakesZero = kFormat == PackedFormat::kS8;

  template <PackedFormat kFormat>
  static void Prepare(__m256i* weights) {
    if constexpr (kTakesZero<kFormat>) {
      const __m256i top = _mm256_set1_epi8(static_cast<char>(0x80));
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        weights[g] = _mm256_xor_si256(weights[g], top);
      }
    }
  }

  template <PackedFormat kFormat, int kGroups>
  static __m256i Product(const __m256i* weights, const int8_t* quants) {
    constexpr int kSums = SafeSums(kFormat);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i dot = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; g += kSums) {
      __m256i pairs = _mm256_setzero_si256();
#pragma GCC unroll 8
      for (int i = g; i < g + kSums; ++i) {
        __m256i weight = weights[i];
        __m256i x = BroadcastFour(quants + 4 * i);
        if constexpr (kTakesZero<kFormat>) {
          x = _mm256_sign_epi8(x, weight);
          weight = _mm256_abs_epi8(weight);
        }
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weight, x));
      }
      dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, ones));
    }
    return dot;
  }
};

inline int32_t SumOf(__m128i four) {
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtsi128_si32(four);
}
inline int32_t SumOf(__m256i eight) {
  return SumOf(_mm_add_epi32(_mm256_castsi256_si128(eight),
                             _mm256_extracti128_si256(eight, 1)));
}

inline float LargestMagnitude(const __m256* values) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    largest = _mm256_max_epi32(
        largest, _mm256_and_si256(_mm256_castps_si256(values[i]), magnitude));
  }
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(largest),
                               _mm256_extracti128_si256(largest, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

void QuantizeBlock(const float* p, ActivationBlock& out) {
  __m256 values[4];
  for (int i = 0; i < 4; ++i) values[i] = _mm256_loadu_ps(p + 8 * i);
  const float amax = LargestMagnitude(values);
  float scale = 0.0f, inverse = 0.0f;
  if (!(amax <= __FLT_MAX__)) {
    scale = __builtin_nanf("");
  } else if (amax >= kSmallestAmax) {
    scale = amax / 127.0f;
    inverse = 127.0f / amax;
  }
  __m256i quants[4];
  for (int i = 0; i < 4; ++i) {
    // Not a product with zero: infinity times zero is a NaN.
    quants[i] = inverse > 0.0f ? _mm256_cvtps_epi32(_mm256_mul_ps(
                                     values[i], _mm256_set1_ps(inverse)))
                               : _mm256_setzero_si256();
  }
  const int32_t first = SumOf(_mm256_add_epi32(quants[0], quants[1]));
  const int32_t second = SumOf(_mm256_add_epi32(quants[2], quants[3]));
  // Packing works within 128-bit lanes and leaves groups of 4 as 0 2 4 6 1 3
  // 5 7.
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(quants[0], quants[1]),
                         _mm256_packs_epi32(quants[2], quants[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.quants),
                      _mm256_permutevar8x32_epi32(bytes, order));
  out.scale = scale;
  out.sum = scale * static_cast<float>(first + second);
  out.half_sums[0] = scale * static_cast<float>(first);
  out.half_sums[1] = scale * static_cast<float>(second);
}

}  // namespace

void QuantizeAvx2(const Activations& x, int32_t first, int32_t end) {
  const int64_t blocks = x.columns / kBlockColumns;
  for (int64_t b = first * blocks; b < end * blocks; ++b) {
    QuantizeBlock(x.values + b * kBlockColumns, x.blocks[b]);
  }
}

void RoundAvx2(const Activations& x, int32_t first, int32_t end) {
  auto* rounded = reinterpret_cast<float*>(x.rounded);
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i half = _mm256_set1_epi32(0x7fff);
  const __m256i kept = _mm256_set1_epi32(int32_t{-65536});
  for (int64_t i = int64_t{first} * x.columns; i < int64_t{end} * x.columns;
       i += 8) {
    const __m256 value = _mm256_loadu_ps(x.values + i);
    const __m256i bits = _mm256_castps_si256(value);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
    const __m256i sum = _mm256_add_epi32(bits, _mm256_add_epi32(half, odd));
    // A NaN might carry over into an infinity or a zero.
    const __m256 nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
    const __m256 result = _mm256_castsi256_ps(_mm256_and_si256(sum, kept));
    _mm256_storeu_ps(rounded + i, _mm256_blendv_ps(result, value, nan));
  }
}

const Kernels kAvx2Kernels = {Isa::kAvx2, QuantizeAvx2, RoundAvx2,
                              Matmul<MultiplyAddDot>};

}  // namespace braid::cpu
