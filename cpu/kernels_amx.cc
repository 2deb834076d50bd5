// AMX: the dot products of 16 rows and up to 16 tokens in one instruction; the
// fewest tokens go to AVX-512. An element's floats are added in the order of
// kernels_avx512.cc, and the integer dot products are exact: the two give the
// same bits.
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
// Up to 8 AVX-512 is as fast, and faster with the fewest.
constexpr int kFewestTokens = 9;
// From here on weights are unpacked in chunks, once for all groups of 16.
constexpr int kFewestForChunks = 32;
constexpr int kChunkBlocks = 32;  // 20 KiB of unpacked weights stay in L1

// Tile registers: 0, 1 the integer sums of 16 tokens and 2, 3 those of a
// smaller group; 4 and 5 likewise the tokens; 6, 7 weights. Two of a kind take
// turns.
void LoadTileConfig(int small_group) {
  TileConfig config;
  for (int i = 0; i < 2; ++i) {
    config.Shape(i, kTileTokens, 64);
    config.Shape(2 + i, small_group, 64);
    config.Shape(6 + i, kBlockColumns / 4, 64);
  }
  config.Shape(4, kTileTokens, kBlockColumns);
  config.Shape(5, small_group, kBlockColumns);
  _tile_loadconfig(&config);
}

template <PackedFormat kFormat>
inline void Prefetch(const std::byte* w) {
  for (int line = 0; line < BlockOf<kFormat>::kBytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(w) + 4096 + line, _MM_HINT_T1);
  }
}

template <PackedFormat kFormat>
inline void UnpackQuants(const std::byte* w, uint8_t (*out)[64]) {
  __m512i quants[8];
  LoadQuants<kFormat>(w, quants);
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) _mm512_store_si512(out[g], quants[g]);
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
    Prefetch<kFormat>(w);
    UnpackQuants<kFormat>(w, chunk.quants[b]);
    _mm512_store_ps(chunk.scales[b], Block::Scale(w, 0));
    _mm512_store_ps(chunk.minima[b], Block::Minimum(w, 0));
  }
}

// The intrinsics take tile numbers as literals only.
#define BRAID_MULTIPLY_TILES(sums_tile, tokens_tile, weights_tile) \
  _tile_zero(sums_tile);                                           \
  _tile_loadd(tokens_tile, x, row_bytes);                          \
  _tile_loadd(weights_tile, weights, 64);                          \
  _tile_dpbsud(sums_tile, tokens_tile, weights_tile);              \
  _tile_stored(sums_tile, sums, 64)

// sums = the integer dot products of a block, [tokens][rows].
template <int kTokens, int kTurn>
inline void MultiplyBlock(const ActivationBlock* x, int64_t row_bytes,
                          const void* weights, int32_t* sums) {
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
inline void AddBlock(const TokenRows<ActivationBlock, kTokens>& x, __m512 scale,
                     __m512 minimum, const int32_t* sums, __m512* total) {
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    const __m512i sum = _mm512_load_si512(sums + t * kRowTile);
    total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                               _mm512_mul_ps(scale, _mm512_set1_ps(x[t].scale)),
                               total[t]);
    total[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(x[t].sum), total[t]);
  }
}

inline void AddBlock(const TokenRows<ActivationBlock, kTileTokens>& x,
                     const Chunk& chunk, int b, const int32_t* sums,
                     __m512* total) {
  AddBlock<kTileTokens>(x, _mm512_load_ps(chunk.scales[b]),
                        _mm512_load_ps(chunk.minima[b]), sums, total);
}

// y (+)= chunk x 16 tokens. `x` is at the chunk's first block of the first.
void MultiplyChunk(const Chunk& chunk, int blocks, const ActivationBlock* x,
                   int64_t row_blocks, bool first, float* y, int64_t y_stride) {
  alignas(64) int32_t sums[2][kTileTokens * kRowTile];
  const auto row_bytes =
      row_blocks * static_cast<int64_t>(sizeof(ActivationBlock));
  __m512 total[kTileTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTileTokens; ++t) {
    total[t] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(y + t * y_stride);
  }
  TokenRows<ActivationBlock, kTileTokens> rows(x, row_blocks);
  // The tiles are one block ahead of the float arithmetic.
  MultiplyBlock<kTileTokens, 0>(x, row_bytes, chunk.quants[0], sums[0]);
  for (int b = 0; b < blocks; b += 2) {
    if (b + 1 < blocks) {
      MultiplyBlock<kTileTokens, 1>(x + b + 1, row_bytes, chunk.quants[b + 1],
                                    sums[1]);
    }
    AddBlock(rows, chunk, b, sums[0], total);
    rows.Advance(1);
    if (b + 1 == blocks) break;
    if (b + 2 < blocks) {
      MultiplyBlock<kTileTokens, 0>(x + b + 2, row_bytes, chunk.quants[b + 2],
                                    sums[0]);
    }
    AddBlock(rows, chunk, b + 1, sums[1], total);
    rows.Advance(1);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTileTokens; ++t) {
    _mm512_storeu_ps(y + t * y_stride, total[t]);
  }
}

// `tokens`, a multiple of 16, for one row tile.
template <PackedFormat kFormat>
void MultiplyInChunks(const std::byte* w, int64_t blocks,
                      const ActivationBlock* x, int64_t tokens, float* y,
                      int64_t y_stride) {
  Chunk chunk;
  for (int64_t b = 0; b < blocks; b += kChunkBlocks) {
    const int count =
        static_cast<int>(blocks - b < kChunkBlocks ? blocks - b : kChunkBlocks);
    Unpack<kFormat>(w + b * BlockOf<kFormat>::kBytes, count, chunk);
    for (int64_t t = 0; t < tokens; t += kTileTokens) {
      MultiplyChunk(chunk, count, x + t * blocks + b, blocks, b == 0,
                    y + t * y_stride, y_stride);
    }
  }
}

// One group of tokens for one row tile, read as it comes: while the floats of a
// block are added, the next is in the tiles and the one after it is unpacked,
// so that memory, tiles and registers are all busy at once.
template <PackedFormat kFormat, int kTokens>
void MultiplyGroup(const std::byte* w, int64_t blocks, const ActivationBlock* x,
                   float* y, int64_t y_stride) {
  using Block = BlockOf<kFormat>;
  alignas(64) uint8_t quants[2][8][64];
  alignas(64) int32_t sums[2][kTokens * kRowTile];
  const auto row_bytes = blocks * static_cast<int64_t>(sizeof(ActivationBlock));
  const auto unpack = [&](int64_t b) {
    if (b >= blocks) return;
    Prefetch<kFormat>(w + b * Block::kBytes);
    if constexpr (Block::kNibbles) {
      UnpackQuants<kFormat>(w + b * Block::kBytes, quants[b % 2]);
    }
  };
  // Bytes lie as a tile takes them.
  const auto weights = [&](int64_t b) -> const void* {
    if constexpr (Block::kNibbles) return quants[b % 2];
    return w + b * Block::kBytes;
  };
  __m512 total[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) total[t] = _mm512_setzero_ps();
  TokenRows<ActivationBlock, kTokens> rows(x, blocks);
  unpack(0);
  MultiplyBlock<kTokens, 0>(x, row_bytes, weights(0), sums[0]);
  unpack(1);
  for (int64_t b = 0; b < blocks; b += 2) {
    const std::byte* block = w + b * Block::kBytes;
    unpack(b + 2);
    if (b + 1 < blocks) {
      MultiplyBlock<kTokens, 1>(x + b + 1, row_bytes, weights(b + 1), sums[1]);
    }
    AddBlock<kTokens>(rows, Block::Scale(block, 0), Block::Minimum(block, 0),
                      sums[0], total);
    rows.Advance(1);
    if (b + 1 == blocks) break;
    block += Block::kBytes;
    unpack(b + 3);
    if (b + 2 < blocks) {
      MultiplyBlock<kTokens, 0>(x + b + 2, row_bytes, weights(b + 2), sums[0]);
    }
    AddBlock<kTokens>(rows, Block::Scale(block, 0), Block::Minimum(block, 0),
                      sums[1], total);
    rows.Advance(1);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    _mm512_storeu_ps(y + t * y_stride, total[t]);
  }
}

using Chunks = void (*)(const std::byte*, int64_t, const ActivationBlock*,
                        int64_t, float*, int64_t);
using Group = void (*)(const std::byte*, int64_t, const ActivationBlock*,
                       float*, int64_t);

// How a format is multiplied.
struct Format {
  Chunks chunks = nullptr;             // null: not here
  Group groups[kTileTokens + 1] = {};  // by their tokens
};

template <PackedFormat kFormat, int kTokens = kTileTokens>
constexpr void SetGroups(Format& format) {
  if constexpr (kTokens >= kFewestTokens) {
    format.groups[kTokens] = MultiplyGroup<kFormat, kTokens>;
    SetGroups<kFormat, kTokens - 1>(format);
  }
}

template <PackedFormat kFormat>
constexpr Format MakeFormat() {
  Format format;
  format.chunks = MultiplyInChunks<kFormat>;
  SetGroups<kFormat>(format);
  return format;
}

// In the order of PackedFormat. Scales of half blocks stay with AVX-512.
constexpr Format kFormats[kPackedFormats] = {
    MakeFormat<PackedFormat::kU4>(),
    MakeFormat<PackedFormat::kU4Float>(),
    MakeFormat<PackedFormat::kS4>(),
    MakeFormat<PackedFormat::kU5>(),
    Format{},
    MakeFormat<PackedFormat::kS8>()};

void Matmul(const PackedMatrix& w, const Activations& x, int32_t first_token,
            int32_t end_token, int64_t first_row, int64_t end_row, float* y,
            int64_t y_stride) {
  if (w.format == PackedFormat::kBF16 && x.rounded != nullptr) {
    MatmulAmxBf16(w, x, first_token, end_token, first_row, end_row, y,
                  y_stride);
    return;
  }
  const Format& format = kFormats[static_cast<int>(w.format)];
  const int32_t tokens = end_token - first_token;
  if (format.chunks == nullptr || tokens < kFewestTokens) {
    kAvx512Kernels.matmul(w, x, first_token, end_token, first_row, end_row, y,
                          y_stride);
    return;
  }
  const int64_t blocks = w.columns / kBlockColumns;
  const int64_t tile_bytes = blocks * PackedBlockBytes(w.format);
  const int32_t rest = tokens % kTileTokens;
  const int32_t rest_at = end_token - rest;
  LoadTileConfig(rest > 0 ? rest : kTileTokens);
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    const std::byte* tile = w.data + r / kRowTile * tile_bytes;
    const auto multiply = [&](Group group, int32_t token) {
      group(tile, blocks, x.blocks + token * blocks, y + token * y_stride + r,
            y_stride);
    };
    if (tokens >= kFewestForChunks) {
      format.chunks(tile, blocks, x.blocks + first_token * blocks,
                    tokens - rest, y + first_token * y_stride + r, y_stride);
    } else if (tokens >= kTileTokens) {
      multiply(format.groups[kTileTokens], first_token);
    }
    if (rest >= kFewestTokens) {
      multiply(format.groups[rest], rest_at);
    } else if (rest > 0) {
      const int64_t end = r + kRowTile < end_row ? r + kRowTile : end_row;
      kAvx512Kernels.matmul(w, x, rest_at, end_token, r, end, y, y_stride);
    }
  }
  _tile_release();
}

}  // namespace

const Kernels kAmxKernels = {Isa::kAmx, QuantizeAvx2, RoundBf16, Matmul};

}  // namespace braid::cpu
