// Plain C++ for any processor. The order of every sum is that of the loops; the
// compiler may vectorise across the 16 rows of a tile.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "cpu/kernel_tables.h"

namespace braid::cpu {
namespace {

float FromHalfBits(const std::byte* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return HalfToFloat(half);
}

float FromFloatBits(const std::byte* p) {
  float value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// One block's 16 scales or minima, as floats.
void ReadScales(const std::byte* p, bool half, float* out) {
  for (int r = 0; r < kRowTile; ++r) {
    out[r] = half ? FromHalfBits(p + 2 * r) : FromFloatBits(p + 4 * r);
  }
}

// A block with everything that is the same for all tokens made ready.
struct Block {
  uint8_t quants[kBlockColumns / 4][kRowTile][4];
  float scale[2][kRowTile];  // of each half
  float minimum[2][kRowTile];
};

struct BlockShape {
  bool nibbles;
  bool half_scales;
  bool per_16;  // scales are per half block
  int zero;     // without minima: what the stored quant of zero is
  bool minima;
};

BlockShape ShapeOf(PackedFormat format) {
  switch (format) {
    case PackedFormat::kU4:
      return {true, true, false, 0, true};
    case PackedFormat::kU4Float:
      return {true, false, false, 0, true};
    case PackedFormat::kS4:
      return {true, true, false, 8, false};
    case PackedFormat::kU5:
      return {false, false, false, 0, true};
    case PackedFormat::kU6x16:
      return {false, false, true, 32, false};
    default:  // kS8
      return {false, true, false, 128, false};
  }
}

void ReadBlock(const BlockShape& shape, const std::byte* p, Block& out) {
  auto* quants = reinterpret_cast<uint8_t*>(out.quants);
  constexpr int kHalf = kRowTile * kBlockColumns / 2;
  if (shape.nibbles) {
    for (int i = 0; i < kHalf; ++i) {
      const auto byte = static_cast<uint8_t>(p[i]);
      quants[i] = byte & 15;
      quants[kHalf + i] = byte >> 4;
    }
    p += kHalf;
  } else {
    std::memcpy(quants, p, 2 * kHalf);
    p += 2 * kHalf;
  }
  const int bytes = kRowTile * (shape.half_scales ? 2 : 4);
  ReadScales(p, shape.half_scales, out.scale[0]);
  ReadScales(shape.per_16 ? p + bytes : p, shape.half_scales, out.scale[1]);
  if (shape.minima) {
    ReadScales(p + bytes, shape.half_scales, out.minimum[0]);
    return;
  }
  for (int h = 0; h < 2; ++h) {
    for (int r = 0; r < kRowTile; ++r) {
      out.minimum[h][r] = out.scale[h][r] * static_cast<float>(-shape.zero);
    }
  }
}

// accumulator[r] += scale * x_scale * (dot product) + minimum * x_sum, over
// column groups [first, end) of 4.
void AddGroups(const Block& block, int half, int first, int end,
               const ActivationBlock& x, float x_sum, float* accumulator) {
  int32_t dot[kRowTile] = {};
  for (int g = first; g < end; ++g) {
    for (int r = 0; r < kRowTile; ++r) {
      for (int k = 0; k < 4; ++k) {
        dot[r] += block.quants[g][r][k] * x.quants[4 * g + k];
      }
    }
  }
  for (int r = 0; r < kRowTile; ++r) {
    accumulator[r] +=
        static_cast<float>(dot[r]) * (block.scale[half][r] * x.scale);
    accumulator[r] += block.minimum[half][r] * x_sum;
  }
}

void AddBlock(const BlockShape& shape, const Block& block,
              const ActivationBlock& x, float* accumulator) {
  if (shape.per_16) {
    AddGroups(block, 0, 0, 4, x, x.half_sums[0], accumulator);
    AddGroups(block, 1, 4, 8, x, x.half_sums[1], accumulator);
  } else {
    AddGroups(block, 0, 0, 8, x, x.sum, accumulator);
  }
}

constexpr int kTokenTile = 8;  // tokens that share the work of ReadBlock

void QuantisedTile(const PackedMatrix& w, const std::byte* tile,
                   const Activations& x, int32_t first, int32_t end, float* y,
                   int64_t y_stride) {
  const BlockShape shape = ShapeOf(w.format);
  const int block_bytes = PackedBlockBytes(w.format);
  const int64_t blocks = w.columns / kBlockColumns;
  float sums[kTokenTile][kRowTile] = {};
  Block block;
  for (int64_t b = 0; b < blocks; ++b) {
    ReadBlock(shape, tile + b * block_bytes, block);
    for (int64_t t = first; t < end; ++t) {
      AddBlock(shape, block, x.blocks[t * blocks + b], sums[t - first]);
    }
  }
  for (int64_t t = first; t < end; ++t) {
    std::memcpy(y + t * y_stride, sums[t - first], sizeof(sums[0]));
  }
}

void ReadColumn(PackedFormat format, const std::byte* tile, int64_t c,
                float* out) {
  for (int r = 0; r < kRowTile; ++r) {
    const int64_t at = c * kRowTile + r;
    const int64_t in_pairs = (c / 2 * kRowTile + r) * 2 + c % 2;
    uint16_t bits;
    switch (format) {
      case PackedFormat::kF16:
        out[r] = FromHalfBits(tile + 2 * at);
        break;
      case PackedFormat::kBF16:
        std::memcpy(&bits, tile + 2 * in_pairs, sizeof(bits));
        out[r] = BFloat16ToFloat(bits);
        break;
      default:
        out[r] = FromFloatBits(tile + 4 * at);
    }
  }
}

void FloatTile(const PackedMatrix& w, const std::byte* tile,
               const Activations& x, int32_t first, int32_t end, float* y,
               int64_t y_stride) {
  float sums[kTokenTile][kRowTile] = {};
  const float* values = x.FloatInputs(w.format);
  for (int64_t c = 0; c < w.columns; ++c) {
    float column[kRowTile];
    ReadColumn(w.format, tile, c, column);
    for (int64_t t = first; t < end; ++t) {
      const float value = values[t * w.columns + c];
      for (int r = 0; r < kRowTile; ++r) {
        sums[t - first][r] += column[r] * value;
      }
    }
  }
  for (int64_t t = first; t < end; ++t) {
    std::memcpy(y + t * y_stride, sums[t - first], sizeof(sums[0]));
  }
}

void Matmul(const PackedMatrix& w, const Activations& x, int32_t first_token,
            int32_t end_token, int64_t first_row, int64_t end_row, float* y,
            int64_t y_stride) {
  BRAID_CHECK(x.columns == w.columns);
  const int64_t tile_bytes =
      w.columns / kBlockColumns * PackedBlockBytes(w.format);
  const auto run = w.int8_inputs() ? QuantisedTile : FloatTile;
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    const std::byte* tile = w.data + r / kRowTile * tile_bytes;
    for (int32_t t = first_token; t < end_token; t += kTokenTile) {
      const int32_t end =
          end_token - t < kTokenTile ? end_token : t + kTokenTile;
      run(w, tile, x, t, end, y + r, y_stride);
    }
  }
}

// Rounds to nearest even where a float's last bit is worth 1. |x| < 2^22.
int32_t RoundToEven(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return static_cast<int32_t>((x + kShift) - kShift);
}

void QuantizeBlock(const float* values, ActivationBlock& out) {
  // As integers, absolute values order like floats, with NaN above infinity.
  uint32_t largest = 0;
  for (int c = 0; c < kBlockColumns; ++c) {
    uint32_t bits;
    std::memcpy(&bits, values + c, sizeof(bits));
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  float amax;
  std::memcpy(&amax, &largest, sizeof(amax));
  float scale = 0.0f, inverse = 0.0f;
  if (!(amax <= std::numeric_limits<float>::max())) {
    scale = std::numeric_limits<float>::quiet_NaN();
  } else if (amax >= kSmallestAmax) {
    scale = amax / 127.0f;
    inverse = 127.0f / amax;
  }
  int32_t sums[2] = {};
  for (int c = 0; c < kBlockColumns; ++c) {
    const int32_t quant = inverse > 0.0f ? RoundToEven(values[c] * inverse) : 0;
    out.quants[c] = static_cast<int8_t>(quant);
    sums[c / 16] += quant;
  }
  out.scale = scale;
  out.sum = scale * static_cast<float>(sums[0] + sums[1]);
  for (int h = 0; h < 2; ++h) {
    out.half_sums[h] = scale * static_cast<float>(sums[h]);
  }
}

void Quantize(const Activations& x, int32_t first, int32_t end) {
  const int64_t blocks = x.columns / kBlockColumns;
  for (int64_t b = first * blocks; b < end * blocks; ++b) {
    QuantizeBlock(x.values + b * kBlockColumns, x.blocks[b]);
  }
}

void Round(const Activations& x, int32_t first, int32_t end) {
  auto* rounded = reinterpret_cast<float*>(x.rounded);
  for (int64_t i = int64_t{first} * x.columns; i < int64_t{end} * x.columns;
       ++i) {
    rounded[i] = BFloat16ToFloat(FloatToBFloat16(x.values[i]));
  }
}

}  // namespace

const Kernels kPortableKernels = {Isa::kPortable, Quantize, Round, Matmul};

}  // namespace braid::cpu
