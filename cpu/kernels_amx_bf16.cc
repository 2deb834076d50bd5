// BF16 weights on AMX tiles: 32 columns of 16 rows, as they are packed, by 32
// columns of up to 16 tokens in one instruction, for any number of tokens. Its
// sums stay in the tile from the first block to the last.
//
// The instruction adds in an order of its own (even columns, odd columns, then
// both to the sum), so that its bits are those of no other table.
#include "cpu/amx_tiles.h"
#include "cpu/kernel_tables.h"

namespace braid::cpu {
namespace {

constexpr int kTileTokens = 16;
constexpr int kBlockBytes = kRowTile * kBlockColumns * 2;
constexpr int kTokenBytes = kBlockColumns * 2;  // of one token's block
constexpr int kPrefetchBytes = 4 * kBlockBytes;

// Tile registers: 0 to 3 the sums, [two groups of tokens][two row tiles]; 4, 5
// the tokens of each group; 6, 7 the weights of each row tile.
void LoadTileConfig(int64_t first_tokens, int64_t second_tokens) {
  TileConfig config;
  for (int i = 0; i < 2; ++i) {
    config.Shape(i, static_cast<int>(first_tokens), 64);
    config.Shape(2 + i, static_cast<int>(second_tokens), 64);
    config.Shape(6 + i, kBlockColumns / 2, 64);
  }
  config.Shape(4, static_cast<int>(first_tokens), kTokenBytes);
  config.Shape(5, static_cast<int>(second_tokens), kTokenBytes);
  _tile_loadconfig(&config);
}

struct Call {
  int64_t blocks;
  const std::byte* x;  // the first token's row
  int64_t x_bytes;     // of a row
  float* y;
  int64_t y_stride;
};

inline void Prefetch(const std::byte* w) {
  for (int line = 0; line < kBlockBytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(w) + kPrefetchBytes + line,
                 _MM_HINT_T1);
  }
}

// kRows row tiles from `row` on, by kGroups groups of tokens from `token` on.
template <int kRows, int kGroups>
void MultiplyTiles(const Call& call, const std::byte* w, int64_t token,
                   int64_t row) {
  const int64_t tile_bytes = call.blocks * kBlockBytes;
  const std::byte* x = call.x + token * call.x_bytes;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t b = 0; b < call.blocks; ++b) {
    _tile_loadd(4, x, call.x_bytes);
    _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    Prefetch(w);
    if constexpr (kRows == 2) {
      _tile_loadd(7, w + tile_bytes, 64);
      _tile_dpbf16ps(1, 4, 7);
      Prefetch(w + tile_bytes);
    }
    if constexpr (kGroups == 2) {
      _tile_loadd(5, x + kTileTokens * call.x_bytes, call.x_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kRows == 2) _tile_dpbf16ps(3, 5, 7);
    }
    w += kBlockBytes;
    x += kTokenBytes;
  }
  const int64_t y_bytes = call.y_stride * static_cast<int64_t>(sizeof(float));
  float* y = call.y + token * call.y_stride + row;
  _tile_stored(0, y, y_bytes);
  if constexpr (kRows == 2) _tile_stored(1, y + kRowTile, y_bytes);
  if constexpr (kGroups == 2) {
    y += kTileTokens * call.y_stride;
    _tile_stored(2, y, y_bytes);
    if constexpr (kRows == 2) _tile_stored(3, y + kRowTile, y_bytes);
  }
}

// Tokens [first, end) in steps of the configured groups.
template <int kGroups>
void MultiplyRows(const Call& call, const std::byte* w, int64_t first,
                  int64_t end, int64_t first_row, int64_t end_row) {
  const int64_t tile_bytes = call.blocks * kBlockBytes;
  constexpr int64_t kStep = kGroups * kTileTokens;
  for (int64_t r = first_row; r < end_row; r += 2 * kRowTile) {
    const std::byte* tile = w + r / kRowTile * tile_bytes;
    for (int64_t t = first; t < end; t += kStep) {
      if (r + kRowTile < end_row) {
        MultiplyTiles<2, kGroups>(call, tile, t, r);
      } else {
        MultiplyTiles<1, kGroups>(call, tile, t, r);
      }
    }
  }
}

}  // namespace

void MatmulAmxBf16(const PackedMatrix& w, const Activations& x,
                   int32_t first_token, int32_t end_token, int64_t first_row,
                   int64_t end_row, float* y, int64_t y_stride) {
  const Call call = {w.columns / kBlockColumns, x.rounded, w.columns * 2, y,
                     y_stride};
  const int64_t whole =
      (end_token - first_token) / (2 * kTileTokens) * (2 * kTileTokens);
  const int64_t rest = first_token + whole;
  if (whole > 0) {
    LoadTileConfig(kTileTokens, kTileTokens);
    MultiplyRows<2>(call, w.data, first_token, rest, first_row, end_row);
  }
  const int64_t left = end_token - rest;
  if (left > kTileTokens) {
    LoadTileConfig(kTileTokens, left - kTileTokens);
    MultiplyRows<2>(call, w.data, rest, end_token, first_row, end_row);
  } else if (left > 0) {
    LoadTileConfig(left, left);
    MultiplyRows<1>(call, w.data, rest, end_token, first_row, end_row);
  }
  _tile_release();
}

}  // namespace braid::cpu
