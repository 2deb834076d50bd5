// AMX: the dot products of 16 rows and 16 tokens in one instruction, for steps
// of 32 tokens and more; smaller ones, and what is left over, go to AVX-512. An
// element's floats are added in the order of kernels_avx512.cc, and the integer
// dot products are exact: the two give the same bits.
//
// A block has scales of its own, so its 16 x 16 integers leave the tile before
// the next block's come. Measured on a Xeon, in cycles per block: 16 for the
// product, 16 for the store, 40 for the float arithmetic, hardly overlapping;
// AVX-512 takes 140. Hence a small share of the tile unit's peak.
#include <immintrin.h>

#include "cpu/amx_tiles.h"
#include "cpu/avx512_block.h"
#include "cpu/kernel_tables.h"
#include "cpu/token_rows.h"

namespace braid::cpu {
namespace {

constexpr int kTileTokens = 16;
constexpr int kSmallTokens = 8;
// Fewer do not repay the unpacking of weights to memory.
constexpr int kFewestTokens = 32;
constexpr int kChunkBlocks = 32;  // 20 KiB of unpacked weights stay in L1

// Tile registers: 0, 1 the integer sums of 16 tokens and 2, 3 those of 8; 4 and
// 5 likewise the tokens; 6, 7 weights. Two of a kind take turns.
void LoadTileConfig() {
  TileConfig config;
  for (int i = 0; i < 2; ++i) {
    config.Shape(i, kTileTokens, 64);
    config.Shape(2 + i, kSmallTokens, 64);
    config.Shape(6 + i, kBlockColumns / 4, 64);
  }
  config.Shape(4, kTileTokens, kBlockColumns);
  config.Shape(5, kSmallTokens, kBlockColumns);
  _tile_loadconfig(&config);
}

// Up to kChunkBlocks blocks of a row tile, ready for all tokens.
struct alignas(64) Chunk {
  uint8_t quants[kChunkBlocks][8][64];
  float scales[kChunkBlocks][kRowTile];
  float minima[kChunkBlocks][kRowTile];
};

template <PackedFormat kFormat>
void Unpack(const std::byte* w, int blocks, Chunk& chunk) {
  using Block = BlockOf<kFormat>;
  for (int b = 0; b < blocks; ++b, w += Block::kBytes) {
    for (int line = 0; line < Block::kBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(w) + 4096 + line, _MM_HINT_T1);
    }
    __m512i quants[8];
    LoadQuants<kFormat>(w, quants);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      _mm512_store_si512(chunk.quants[b][g], quants[g]);
    }
    _mm512_store_ps(chunk.scales[b], Block::Scale(w, 0));
    _mm512_store_ps(chunk.minima[b], Block::Minimum(w, 0));
  }
}

// The intrinsics take tile numbers as literals only.
#define BRAID_MULTIPLY_TILES(sums_tile, tokens_tile, weights_tile) \
  _tile_zero(sums_tile);                                           \
  _tile_loadd(tokens_tile, x, row_bytes);                          \
  _tile_loadd(weights_tile, chunk.quants[b], 64);                  \
  _tile_dpbsud(sums_tile, tokens_tile, weights_tile);              \
  _tile_stored(sums_tile, sums, 64)

// sums = the integer dot products of block b, [tokens][rows].
template <int kTokens, int kTurn>
inline void MultiplyBlock(const ActivationBlock* x, int64_t row_bytes,
                          const Chunk& chunk, int b, int32_t* sums) {
  if constexpr (kTokens == kTileTokens && kTurn == 0) {
    BRAID_MULTIPLY_TILES(0, 4, 6);
  } else if constexpr (kTokens == kTileTokens) {
    BRAID_MULTIPLY_TILES(1, 4, 7);
  } else if constexpr (kTurn == 0) {
    BRAID_MULTIPLY_TILES(2, 5, 6);
  } else {
    BRAID_MULTIPLY_TILES(3, 5, 7);
  }
}
#undef BRAID_MULTIPLY_TILES

template <int kTokens>
inline void AddBlock(const TokenRows<ActivationBlock, kTokens>& x,
                     const Chunk& chunk, int b, const int32_t* sums,
                     __m512* total) {
  const __m512 scale = _mm512_load_ps(chunk.scales[b]);
  const __m512 minimum = _mm512_load_ps(chunk.minima[b]);
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    const __m512i sum = _mm512_load_si512(sums + t * kRowTile);
    total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                               _mm512_mul_ps(scale, _mm512_set1_ps(x[t].scale)),
                               total[t]);
    total[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(x[t].sum), total[t]);
  }
}

// y (+)= chunk x tokens. `x` is at the chunk's first block of the first token.
template <int kTokens>
void MultiplyChunk(const Chunk& chunk, int blocks, const ActivationBlock* x,
                   int64_t row_blocks, bool first, float* y, int64_t y_stride) {
  alignas(64) int32_t sums[2][kTokens * kRowTile];
  const auto row_bytes =
      row_blocks * static_cast<int64_t>(sizeof(ActivationBlock));
  __m512 total[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    total[t] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(y + t * y_stride);
  }
  TokenRows<ActivationBlock, kTokens> rows(x, row_blocks);
  // The tiles are one block ahead of the float arithmetic.
  MultiplyBlock<kTokens, 0>(x, row_bytes, chunk, 0, sums[0]);
  for (int b = 0; b < blocks; b += 2) {
    if (b + 1 < blocks) {
      MultiplyBlock<kTokens, 1>(x + b + 1, row_bytes, chunk, b + 1, sums[1]);
    }
    AddBlock<kTokens>(rows, chunk, b, sums[0], total);
    rows.Advance(1);
    if (b + 1 == blocks) break;
    if (b + 2 < blocks) {
      MultiplyBlock<kTokens, 0>(x + b + 2, row_bytes, chunk, b + 2, sums[0]);
    }
    AddBlock<kTokens>(rows, chunk, b + 1, sums[1], total);
    rows.Advance(1);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    _mm512_storeu_ps(y + t * y_stride, total[t]);
  }
}

// All of `tokens` (a multiple of 8) for one row tile.
template <PackedFormat kFormat>
void MultiplyTile(const std::byte* w, int64_t blocks, const ActivationBlock* x,
                  int64_t tokens, float* y, int64_t y_stride) {
  Chunk chunk;
  for (int64_t b = 0; b < blocks; b += kChunkBlocks) {
    const int count =
        static_cast<int>(blocks - b < kChunkBlocks ? blocks - b : kChunkBlocks);
    Unpack<kFormat>(w + b * BlockOf<kFormat>::kBytes, count, chunk);
    int64_t t = 0;
    for (; t + kTileTokens <= tokens; t += kTileTokens) {
      MultiplyChunk<kTileTokens>(chunk, count, x + t * blocks + b, blocks,
                                 b == 0, y + t * y_stride, y_stride);
    }
    if (t < tokens) {
      MultiplyChunk<kSmallTokens>(chunk, count, x + t * blocks + b, blocks,
                                  b == 0, y + t * y_stride, y_stride);
    }
  }
}

using Tile = void (*)(const std::byte*, int64_t, const ActivationBlock*,
                      int64_t, float*, int64_t);

// Null for formats that stay with AVX-512.
Tile TileFor(PackedFormat format) {
  switch (format) {
    case PackedFormat::kU4:
      return MultiplyTile<PackedFormat::kU4>;
    case PackedFormat::kU4Float:
      return MultiplyTile<PackedFormat::kU4Float>;
    case PackedFormat::kS4:
      return MultiplyTile<PackedFormat::kS4>;
    case PackedFormat::kU5:
      return MultiplyTile<PackedFormat::kU5>;
    case PackedFormat::kS8:
      return MultiplyTile<PackedFormat::kS8>;
    default:
      return nullptr;
  }
}

void Matmul(const PackedMatrix& w, const Activations& x, int32_t first_token,
            int32_t end_token, int64_t first_row, int64_t end_row, float* y,
            int64_t y_stride) {
  if (w.format == PackedFormat::kBF16 && x.rounded != nullptr) {
    MatmulAmxBf16(w, x, first_token, end_token, first_row, end_row, y,
                  y_stride);
    return;
  }
  const Tile tile = TileFor(w.format);
  const int64_t tokens =
      (end_token - first_token) / kSmallTokens * kSmallTokens;
  if (tile == nullptr || end_token - first_token < kFewestTokens) {
    kAvx512Kernels.matmul(w, x, first_token, end_token, first_row, end_row, y,
                          y_stride);
    return;
  }
  const int64_t blocks = w.columns / kBlockColumns;
  const int64_t tile_bytes = blocks * PackedBlockBytes(w.format);
  const auto rest = static_cast<int32_t>(first_token + tokens);
  LoadTileConfig();
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    tile(w.data + r / kRowTile * tile_bytes, blocks,
         x.blocks + first_token * blocks, tokens,
         y + first_token * y_stride + r, y_stride);
    if (rest < end_token) {
      const int64_t end = r + kRowTile < end_row ? r + kRowTile : end_row;
      kAvx512Kernels.matmul(w, x, rest, end_token, r, end, y, y_stride);
    }
  }
  _tile_release();
}

}  // namespace

const Kernels kAmxKernels = {Isa::kAmx, QuantizeAvx2, RoundBf16, Matmul};

}  // namespace braid::cpu
