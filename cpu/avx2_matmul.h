// Products with 256-bit registers, for any way `Dot` of multiplying bytes.
// Included only by translation units compiled for AVX2, each of which
// instantiates it for itself: internal linkage (see kernel_tables.h).
//
// A tile of 16 rows is done as two halves of 8, each with up to 4 tokens: what
// 16 registers hold beside 8 of weights. The second half finds its lines in L1.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "cpu/kernels.h"
#include "cpu/processor.h"
#include "cpu/token_rows.h"

namespace braid::cpu {
namespace {

constexpr int kMaxTokens = 4;
constexpr int kHalfTile = 8;  // rows
// How far ahead weights are asked for; for one token, which the memory paces,
// it is ProcessorFeatures::prefetch_bytes.
constexpr int kFarBytes = 6144;

struct Call {
  const Activations* x;
  int64_t blocks;
  float* y;
  int64_t y_stride;
  int64_t near_bytes;
};

inline __m256i LoadInts(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// How a format's block is laid out.
struct BlockShape {
  int bytes;
  bool nibbles;
  bool half_scales;
  bool minima;
  int halves;  // 2 when each half block has its own scale
  int zero;    // without minima: the stored quant of zero
};
constexpr BlockShape ShapeOf(PackedFormat format) {
  switch (format) {
    case PackedFormat::kU4:
      return {256 + 64, true, true, true, 1, 0};
    case PackedFormat::kU4Float:
      return {256 + 128, true, false, true, 1, 0};
    case PackedFormat::kS4:
      return {256 + 32, true, true, false, 1, 8};
    case PackedFormat::kU5:
      return {512 + 128, false, false, true, 1, 0};
    case PackedFormat::kU6x16:
      return {512 + 128, false, false, false, 2, 32};
    default:  // kS8
      return {512 + 32, false, true, false, 1, 128};
  }
}

// quants[g]: columns 4 g .. 4 g + 3 of 8 rows.
template <PackedFormat kFormat>
inline void LoadQuants(const std::byte* p, __m256i* quants) {
  if constexpr (ShapeOf(kFormat).nibbles) {
    const __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m256i bytes = LoadInts(p + 64 * g);
      quants[g] = _mm256_and_si256(bytes, low);
      quants[4 + g] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
    }
  } else {
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) quants[g] = LoadInts(p + 64 * g);
  }
}

// The index-th 16 scales of a block, of which 8 rows.
template <PackedFormat kFormat>
inline __m256 LoadScales(const std::byte* block, int index, int rows_half) {
  constexpr BlockShape kShape = ShapeOf(kFormat);
  const std::byte* p = block + (kShape.nibbles ? 256 : 512);
  const int at = index * kRowTile + rows_half * kHalfTile;
  if constexpr (kShape.half_scales) {
    return _mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2 * at)));
  } else {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p) + at);
  }
}

template <typename Dot, PackedFormat kFormat, int kTokens>
void QuantisedTile(const Call& call, const std::byte* w, int64_t token,
                   int64_t row, int rows_half) {
  constexpr BlockShape kShape = ShapeOf(kFormat);
  constexpr bool kHasMinimum = !Dot::template kTakesZero<kFormat>;
  const int64_t ahead = kTokens == 1 ? call.near_bytes : kFarBytes;
  const int64_t blocks = call.blocks;
  TokenRows<ActivationBlock, kTokens> x(call.x->blocks + token * blocks,
                                        blocks);
  __m256 total[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) total[t] = _mm256_setzero_ps();

  for (int64_t b = 0; b < blocks; ++b) {
    if (rows_half == 0) {
      for (int line = 0; line < kShape.bytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + line,
                     _MM_HINT_T1);
      }
    }
    __m256i weights[8];
    LoadQuants<kFormat>(w + 32 * rows_half, weights);
    Dot::template Prepare<kFormat>(weights);
#pragma GCC unroll 2
    for (int half = 0; half < kShape.halves; ++half) {
      constexpr int kGroups = 8 / kShape.halves;
      const __m256 scale = LoadScales<kFormat>(w, half, rows_half);
      __m256 minimum;
      if constexpr (kShape.minima) {
        minimum = LoadScales<kFormat>(w, 1, rows_half);
      } else {
        minimum = _mm256_mul_ps(
            scale, _mm256_set1_ps(static_cast<float>(-kShape.zero)));
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const ActivationBlock& block = x[t];
        const float sum =
            kShape.halves == 1 ? block.sum : block.half_sums[half];
        const __m256i dot = Dot::template Product<kFormat, kGroups>(
            weights + half * kGroups, block.quants + half * 4 * kGroups);
        total[t] = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(dot),
            _mm256_mul_ps(scale, _mm256_set1_ps(block.scale)), total[t]);
        if constexpr (kHasMinimum) {
          total[t] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(sum), total[t]);
        }
      }
    }
    w += kShape.bytes;
    x.Advance(1);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    _mm256_storeu_ps(call.y + (token + t) * call.y_stride + row, total[t]);
  }
}

// An even column of 8 rows and the one after it. `p` is the first in the tile's
// half; a whole column of 16 rows takes kColumnBytes.
template <PackedFormat kFormat>
inline void LoadColumns(const std::byte* p, __m256& even, __m256& odd) {
  if constexpr (kFormat == PackedFormat::kF32) {
    even = _mm256_loadu_ps(reinterpret_cast<const float*>(p));
    odd = _mm256_loadu_ps(reinterpret_cast<const float*>(p) + kRowTile);
  } else if constexpr (kFormat == PackedFormat::kF16) {
    const auto* halves = reinterpret_cast<const __m128i*>(p);
    even = _mm256_cvtph_ps(_mm_loadu_si128(halves));
    odd = _mm256_cvtph_ps(_mm_loadu_si128(halves + 2));
  } else {
    const __m256i pairs = LoadInts(p);
    even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    odd = _mm256_castsi256_ps(
        _mm256_and_si256(pairs, _mm256_set1_epi32(int32_t{-65536})));
  }
}

// Even and odd columns are summed apart: shorter chains of additions.
template <typename Dot, PackedFormat kFormat, int kTokens>
void FloatTile(const Call& call, const std::byte* w, int64_t token, int64_t row,
               int rows_half) {
  constexpr bool kBf16 = kFormat == PackedFormat::kBF16;
  constexpr int kColumnBytes =
      kRowTile * (kFormat == PackedFormat::kF32 ? 4 : 2);
  const int64_t columns = call.blocks * kBlockColumns;
  const float* values = call.x->FloatInputs(kFormat);
  TokenRows<float, kTokens> x(values + token * columns, columns);
  w += rows_half * (kBf16 ? kColumnBytes : kColumnBytes / 2);
  __m256 even[kTokens], odd[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) even[t] = odd[t] = _mm256_setzero_ps();
  for (int64_t c = 0; c < columns; c += 2) {
    _mm_prefetch(reinterpret_cast<const char*>(w) + kFarBytes, _MM_HINT_T1);
    __m256 first, second;
    LoadColumns<kFormat>(w, first, second);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float* two = &x[t];
      even[t] = _mm256_fmadd_ps(first, _mm256_set1_ps(two[0]), even[t]);
      odd[t] = _mm256_fmadd_ps(second, _mm256_set1_ps(two[1]), odd[t]);
    }
    w += 2 * kColumnBytes;
    x.Advance(2);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    _mm256_storeu_ps(call.y + (token + t) * call.y_stride + row,
                     _mm256_add_ps(even[t], odd[t]));
  }
}

using Tile = void (*)(const Call&, const std::byte*, int64_t, int64_t, int);

template <typename Dot, PackedFormat kFormat, int kTokens>
constexpr Tile TileFor() {
  if constexpr (kFormat < PackedFormat::kF32) {
    return QuantisedTile<Dot, kFormat, kTokens>;
  } else {
    return FloatTile<Dot, kFormat, kTokens>;
  }
}

template <typename Dot, PackedFormat kFormat>
void RunTokens(const Call& call, const std::byte* w, int64_t first, int64_t end,
               int64_t row) {
  static constexpr Tile kTiles[kMaxTokens] = {
      TileFor<Dot, kFormat, 1>(), TileFor<Dot, kFormat, 2>(),
      TileFor<Dot, kFormat, 3>(), TileFor<Dot, kFormat, 4>()};
  for (int64_t t = first; t < end; t += kMaxTokens) {
    const int64_t tokens = end - t < kMaxTokens ? end - t : kMaxTokens;
    for (int half = 0; half < 2; ++half) {
      kTiles[tokens - 1](call, w, t, row + half * kHalfTile, half);
    }
  }
}

template <typename Dot>
void Matmul(const PackedMatrix& w, const Activations& x, int32_t first_token,
            int32_t end_token, int64_t first_row, int64_t end_row, float* y,
            int64_t y_stride) {
  using F = PackedFormat;
  using Run =
      void (*)(const Call&, const std::byte*, int64_t, int64_t, int64_t);
  static constexpr Run kRuns[kPackedFormats] = {
      // In the order of PackedFormat.
      RunTokens<Dot, F::kU4>,    RunTokens<Dot, F::kU4Float>,
      RunTokens<Dot, F::kS4>,    RunTokens<Dot, F::kU5>,
      RunTokens<Dot, F::kU6x16>, RunTokens<Dot, F::kS8>,
      RunTokens<Dot, F::kF32>,   RunTokens<Dot, F::kF16>,
      RunTokens<Dot, F::kBF16>};
  const Call call = {&x, w.columns / kBlockColumns, y, y_stride,
                     Processor().prefetch_bytes};
  const int64_t tile_bytes = call.blocks * PackedBlockBytes(w.format);
  const Run run = kRuns[static_cast<int>(w.format)];
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    run(call, w.data + r / kRowTile * tile_bytes, first_token, end_token, r);
  }
}

// Four columns of one token, for every row.
inline __m256i BroadcastFour(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}

}  // namespace
}  // namespace braid::cpu
