// A block of weights in AVX-512 registers. Included only by translation units
// compiled for it; everything has internal linkage (see kernel_tables.h).
#pragma once

#include <immintrin.h>

#include "cpu/packed_matrix.h"

namespace braid::cpu {
namespace {

inline __m512 LoadHalves(const std::byte* p) {
  return _mm512_cvtph_ps(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline __m512 LoadFloats(const std::byte* p) { return _mm512_loadu_ps(p); }

// quants[g]: columns 4 g .. 4 g + 3 of the 16 rows.
inline void LoadNibbles(const std::byte* p, __m512i* quants) {
  const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const __m512i bytes = _mm512_loadu_si512(p + 64 * g);
    quants[g] = _mm512_and_si512(bytes, low);
    quants[4 + g] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);
  }
}
inline void LoadBytes(const std::byte* p, __m512i* quants) {
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) quants[g] = _mm512_loadu_si512(p + 64 * g);
}

// How far ahead weights are asked for, to the second level: the processor's own
// prefetching stops at every page, and lags behind wherever arithmetic takes
// about as long as the memory.
constexpr int kFarBytes = 6144;
// So few tokens use a block of 32 columns that far ahead gets in the way: then
// ProcessorFeatures::prefetch_bytes.
constexpr bool PacedByMemory(int block_bytes, int tokens) {
  return block_bytes > 128 * tokens;
}

// How a PackedFormat's block is read: kBytes, kHalves (1, or 2 when each half
// block has its own scale), Quants, Scale(half), Minimum(half).
template <PackedFormat>
struct BlockOf;

template <>
struct BlockOf<PackedFormat::kU4> {
  static constexpr int kBytes = 256 + 64, kHalves = 1;
  static constexpr bool kNibbles = true;
  static __m512 Scale(const std::byte* p, int) { return LoadHalves(p + 256); }
  static __m512 Minimum(const std::byte* p, int) { return LoadHalves(p + 288); }
};
template <>
struct BlockOf<PackedFormat::kU4Float> {
  static constexpr int kBytes = 256 + 128, kHalves = 1;
  static constexpr bool kNibbles = true;
  static __m512 Scale(const std::byte* p, int) { return LoadFloats(p + 256); }
  static __m512 Minimum(const std::byte* p, int) { return LoadFloats(p + 320); }
};
template <>
struct BlockOf<PackedFormat::kS4> {
  static constexpr int kBytes = 256 + 32, kHalves = 1;
  static constexpr bool kNibbles = true;
  static __m512 Scale(const std::byte* p, int) { return LoadHalves(p + 256); }
  static __m512 Minimum(const std::byte* p, int) {
    return _mm512_mul_ps(Scale(p, 0), _mm512_set1_ps(-8.0f));
  }
};
template <>
struct BlockOf<PackedFormat::kU5> {
  static constexpr int kBytes = 512 + 128, kHalves = 1;
  static constexpr bool kNibbles = false;
  static __m512 Scale(const std::byte* p, int) { return LoadFloats(p + 512); }
  static __m512 Minimum(const std::byte* p, int) { return LoadFloats(p + 576); }
};
template <>
struct BlockOf<PackedFormat::kU6x16> {
  static constexpr int kBytes = 512 + 128, kHalves = 2;
  static constexpr bool kNibbles = false;
  static __m512 Scale(const std::byte* p, int half) {
    return LoadFloats(p + 512 + 64 * half);
  }
  static __m512 Minimum(const std::byte* p, int half) {
    return _mm512_mul_ps(Scale(p, half), _mm512_set1_ps(-32.0f));
  }
};
template <>
struct BlockOf<PackedFormat::kS8> {
  static constexpr int kBytes = 512 + 32, kHalves = 1;
  static constexpr bool kNibbles = false;
  static __m512 Scale(const std::byte* p, int) { return LoadHalves(p + 512); }
  static __m512 Minimum(const std::byte* p, int) {
    return _mm512_mul_ps(Scale(p, 0), _mm512_set1_ps(-128.0f));
  }
};

template <PackedFormat kFormat>
inline void LoadQuants(const std::byte* p, __m512i* quants) {
  if constexpr (BlockOf<kFormat>::kNibbles) {
    LoadNibbles(p, quants);
  } else {
    LoadBytes(p, quants);
  }
}

}  // namespace
}  // namespace braid::cpu
