// AVX-512 with VNNI. A tile of 16 rows by up to kMaxTokens tokens stays in
// registers: a block's weights are unpacked once for all of its tokens, and
// each dot product takes four columns of 16 rows and, broadcast from memory,
// four columns of one token.
#include "cpu/avx512_block.h"
#include "cpu/kernel_tables.h"
#include "cpu/processor.h"
#include "cpu/token_rows.h"

namespace braid::cpu {
namespace {

constexpr int kMaxTokens = 12;

// Tokens whose chains of dot products are written side by side: one after the
// other they would fill the scheduler with instructions that wait.
constexpr int kInterleaved = 4;

struct Call {
  const Activations* x;
  int64_t blocks;
  float* y;
  int64_t y_stride;
  int64_t near_bytes;  // PacedByMemory
};

// Four columns of one token, for every row.
inline __m512i BroadcastFour(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// The fixed order of one element: per block an integer dot product, then two
// fused multiply-adds.
template <PackedFormat kFormat, int kTokens>
void QuantisedTile(const Call& call, const std::byte* w, int64_t token,
                   int64_t row) {
  using Block = BlockOf<kFormat>;
  const int64_t ahead =
      PacedByMemory(Block::kBytes, kTokens) ? call.near_bytes : kFarBytes;
  const int64_t blocks = call.blocks;
  TokenRows<ActivationBlock, kTokens> x(call.x->blocks + token * blocks,
                                        blocks);
  __m512 total[kTokens];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) total[t] = _mm512_setzero_ps();

  for (int64_t b = 0; b < blocks; ++b) {
    for (int line = 0; line < Block::kBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + line,
                   _MM_HINT_T1);
    }
    __m512i weights[8];
    LoadQuants<kFormat>(w, weights);
#pragma GCC unroll 2
    for (int half = 0; half < Block::kHalves; ++half) {
      const __m512 scale = Block::Scale(w, half);
      const __m512 minimum = Block::Minimum(w, half);
#pragma GCC unroll 6
      for (int first = 0; first < kTokens; first += kInterleaved) {
        __m512i dots[kInterleaved];
        constexpr int kGroups = 8 / Block::kHalves;
#pragma GCC unroll 8
        for (int g = half * kGroups; g < (half + 1) * kGroups; ++g) {
#pragma GCC unroll 8
          for (int i = 0; i < kInterleaved; ++i) {
            const int t = first + i;
            if (t >= kTokens) break;

            const __m512i last =
                g == half * kGroups ? _mm512_setzero_si512() : dots[i];
            dots[i] = _mm512_dpbusd_epi32(last, weights[g],
                                          BroadcastFour(x[t].quants + 4 * g));
          }
        }
#pragma GCC unroll 8
        for (int i = 0; i < kInterleaved; ++i) {
          const int t = first + i;
          if (t >= kTokens) break;

          const float sum =
              Block::kHalves == 1 ? x[t].sum : x[t].half_sums[half];
          total[t] = _mm512_fmadd_ps(
              _mm512_cvtepi32_ps(dots[i]),
              _mm512_mul_ps(scale, _mm512_set1_ps(x[t].scale)), total[t]);
          total[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sum), total[t]);
        }
      }
    }
    w += Block::kBytes;
    x.Advance(1);
  }
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
    _mm512_storeu_ps(call.y + (token + t) * call.y_stride + row, total[t]);
  }
}

// An even column and the one after it.
template <PackedFormat kFormat>
inline void LoadColumns(const std::byte* p, __m512& even, __m512& odd) {
  if constexpr (kFormat == PackedFormat::kF32) {
    even = LoadFloats(p);
    odd = LoadFloats(p + 64);
  } else if constexpr (kFormat == PackedFormat::kF16) {
    even = LoadHalves(p);
    odd = LoadHalves(p + 32);
  } else {
    const __m512i pairs = _mm512_loadu_si512(p);
    even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    odd = _mm512_castsi512_ps(
        _mm512_and_si512(pairs, _mm512_set1_epi32(int32_t{-65536})));
  }
}

// Even and odd columns are summed apart, so that one token's chain of dependent
// additions keeps up with the memory.
template <PackedFormat kFormat, int kTokens>
void FloatTile(const Call& call, const std::byte* w, int64_t token,
               int64_t row) {
  constexpr int kColumnBytes =
      kRowTile * (kFormat == PackedFormat::kF32 ? 4 : 2);
  const int64_t columns = call.blocks * kBlockColumns;
  const float* values = call.x->FloatInputs(kFormat);
  TokenRows<float, kTokens> x(values + token * columns, columns);
  __m512 even[kTokens], odd[kTokens];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) even[t] = odd[t] = _mm512_setzero_ps();
  for (int64_t c = 0; c < columns; c += 2) {
    for (int column = 0; column < 2; ++column) {
      _mm_prefetch(
          reinterpret_cast<const char*>(w) + kFarBytes + column * kColumnBytes,
          _MM_HINT_T1);
    }
    __m512 first, second;
    LoadColumns<kFormat>(w, first, second);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      const float* two = &x[t];
      even[t] = _mm512_fmadd_ps(first, _mm512_set1_ps(two[0]), even[t]);
      odd[t] = _mm512_fmadd_ps(second, _mm512_set1_ps(two[1]), odd[t]);
    }
    w += 2 * kColumnBytes;
    x.Advance(2);
  }
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
    _mm512_storeu_ps(call.y + (token + t) * call.y_stride + row,
                     _mm512_add_ps(even[t], odd[t]));
  }
}

using Tile = void (*)(const Call&, const std::byte*, int64_t, int64_t);

// tiles[n]: the largest tile for n tokens, and how many of them it takes.
template <PackedFormat kFormat, int kTokens>
constexpr Tile TileFor() {
  if constexpr (kFormat < PackedFormat::kF32) {
    return QuantisedTile<kFormat, kTokens>;
  } else {
    return FloatTile<kFormat, kTokens>;
  }
}

// Runs tokens [first, end) in tiles of kMaxTokens, the rest in one or two.
template <PackedFormat kFormat>
void RunTokens(const Call& call, const std::byte* w, int64_t first, int64_t end,
               int64_t row) {
  static constexpr Tile kTiles[9] = {nullptr,
                                     TileFor<kFormat, 1>(),
                                     TileFor<kFormat, 2>(),
                                     TileFor<kFormat, 3>(),
                                     TileFor<kFormat, 4>(),
                                     TileFor<kFormat, 5>(),
                                     TileFor<kFormat, 6>(),
                                     TileFor<kFormat, 7>(),
                                     TileFor<kFormat, 8>()};
  while (end - first >= kMaxTokens) {
    TileFor<kFormat, kMaxTokens>()(call, w, first, row);
    first += kMaxTokens;
  }
  if (end - first > 8) {
    kTiles[6](call, w, first, row);
    first += 6;
  }
  if (end > first) kTiles[end - first](call, w, first, row);
}

using Run = void (*)(const Call&, const std::byte*, int64_t, int64_t, int64_t);
// In the order of PackedFormat.
constexpr Run kRuns[kPackedFormats] = {
    RunTokens<PackedFormat::kU4>,    RunTokens<PackedFormat::kU4Float>,
    RunTokens<PackedFormat::kS4>,    RunTokens<PackedFormat::kU5>,
    RunTokens<PackedFormat::kU6x16>, RunTokens<PackedFormat::kS8>,
    RunTokens<PackedFormat::kF32>,   RunTokens<PackedFormat::kF16>,
    RunTokens<PackedFormat::kBF16>};

void Matmul(const PackedMatrix& w, const Activations& x, int32_t first_token,
            int32_t end_token, int64_t first_row, int64_t end_row, float* y,
            int64_t y_stride) {
  const Call call = {&x, w.columns / kBlockColumns, y, y_stride,
                     Processor().prefetch_bytes};
  const int64_t tile_bytes = call.blocks * PackedBlockBytes(w.format);
  const Run run = kRuns[static_cast<int>(w.format)];
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    run(call, w.data + r / kRowTile * tile_bytes, first_token, end_token, r);
  }
}

}  // namespace

const Kernels kAvx512Kernels = {Isa::kAvx512, QuantizeAvx2, RoundAvx2, Matmul};

}  // namespace braid::cpu
