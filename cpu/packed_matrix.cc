#include "cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "cpu/packed_block.h"

namespace braid::cpu {
namespace {

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

// The place of (row, column) among a block's quants, in bytes.
constexpr int QuantAt(int row, int column) {
  return column / 4 * 64 + row * 4 + column % 4;
}

struct Shape {
  int scale_bytes;  // of one scale
  int scales;       // per row and block
  int minima;       // per row and block
  int zero;         // what the stored quant of zero is
};

Shape ShapeOf(PackedFormat format) {
  switch (format) {
    case PackedFormat::kU4:
      return {2, 1, 1, 0};
    case PackedFormat::kU4Float:
    case PackedFormat::kU5:
      return {4, 1, 1, 0};
    case PackedFormat::kS4:
      return {2, 1, 0, 8};
    case PackedFormat::kU6x16:
      return {4, 2, 0, 32};
    case PackedFormat::kS8:
      return {2, 1, 0, 128};
    case PackedFormat::kF32:
    case PackedFormat::kF16:
    case PackedFormat::kBF16:
      break;
  }
  BRAID_CHECK_MSG(false, "not a quantised format");
  return {};
}

bool IsNibbles(PackedFormat format) { return format <= PackedFormat::kS4; }
int QuantBytes(PackedFormat format) {
  const int quants = kRowTile * kBlockColumns;
  return IsNibbles(format) ? quants / 2 : quants;
}

int FloatBytes(PackedFormat format) {
  return format == PackedFormat::kF32 ? 4 : 2;
}

// The place of (row, column) in a tile of floats, in bytes.
int64_t FloatAt(PackedFormat format, int row, int64_t column) {
  const int64_t element = format == PackedFormat::kBF16
                              ? (column / 2 * kRowTile + row) * 2 + column % 2
                              : column * kRowTile + row;
  return element * FloatBytes(format);
}

void StoreScale(float value, int bytes, std::byte* out) {
  if (bytes == 4) {
    std::memcpy(out, &value, 4);
  } else {
    const uint16_t half = FloatToHalf(value);  // exact: it came from a half
    std::memcpy(out, &half, 2);
  }
}

float LoadScale(const std::byte* p, int bytes) {
  if (bytes == 4) {
    float value;
    std::memcpy(&value, p, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, p, 2);
  return HalfToFloat(half);
}

void StoreQuants(const uint8_t* quants, bool nibbles, int row, std::byte* out) {
  if (!nibbles) {
    for (int c = 0; c < kBlockColumns; c += 4) {
      std::memcpy(out + QuantAt(row, c), quants + c, 4);
    }
    return;
  }
  for (int c = 0; c < kBlockColumns / 2; ++c) {
    out[QuantAt(row, c)] = std::byte(quants[c] | (quants[16 + c] << 4));
  }
}

uint8_t LoadQuant(const std::byte* block, bool nibbles, int row, int column) {
  if (!nibbles) return static_cast<uint8_t>(block[QuantAt(row, column)]);
  const auto byte = static_cast<uint8_t>(block[QuantAt(row, column % 16)]);
  return column < 16 ? byte & 15 : byte >> 4;
}

void PackQuantisedTile(const Tensor& w, PackedFormat format, int64_t first_row,
                       int rows, std::byte* tile) {
  const Shape shape = ShapeOf(format);
  const int block_bytes = PackedBlockBytes(format);
  const bool nibbles = IsNibbles(format);
  for (int r = 0; r < rows; ++r) {
    const std::byte* row = w.row(first_row + r);
    std::byte* block = tile;
    for (int64_t b = 0; b < w.columns / kBlockColumns; ++b) {
      const QuantisedBlock q = ReadBlock(w.dtype, row, b);
      StoreQuants(q.quants, nibbles, r, block);
      std::byte* scales = block + QuantBytes(format);
      const int bytes = shape.scale_bytes;
      for (int s = 0; s < shape.scales; ++s) {
        StoreScale(q.scales[s], bytes, scales + (s * kRowTile + r) * bytes);
      }
      if (shape.minima > 0) {
        StoreScale(q.minimum, bytes, scales + (kRowTile + r) * bytes);
      }
      block += block_bytes;
    }
  }
}

void PackFloatTile(const Tensor& w, PackedFormat format, int64_t first_row,
                   int rows, std::byte* tile) {
  const int bytes = FloatBytes(format);
  for (int r = 0; r < rows; ++r) {
    const std::byte* row = w.row(first_row + r);
    for (int64_t c = 0; c < w.columns; ++c) {
      std::memcpy(tile + FloatAt(format, r, c), row + c * bytes,
                  static_cast<size_t>(bytes));
    }
  }
}

size_t TileBytes(PackedFormat format, int64_t columns) {
  return static_cast<size_t>(columns / kBlockColumns) *
         static_cast<size_t>(PackedBlockBytes(format));
}

}  // namespace

PackedFormat PackedFormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return PackedFormat::kF32;
    case DType::kF16:
      return PackedFormat::kF16;
    case DType::kBF16:
      return PackedFormat::kBF16;
    case DType::kQ4_0:
      return PackedFormat::kS4;
    case DType::kQ4_1:
      return PackedFormat::kU4;
    case DType::kQ4_K:
      return PackedFormat::kU4Float;
    case DType::kQ5_1:
    case DType::kQ5_K:
      return PackedFormat::kU5;
    case DType::kQ5_0:
    case DType::kQ8_0:
      return PackedFormat::kS8;
    case DType::kQ6_K:
      return PackedFormat::kU6x16;
  }
  BRAID_CHECK_MSG(false, "unknown DType");
  return PackedFormat::kF32;
}

int PackedBlockBytes(PackedFormat format) {
  if (format >= PackedFormat::kF32) {
    return kRowTile * kBlockColumns * FloatBytes(format);
  }
  const Shape shape = ShapeOf(format);
  return QuantBytes(format) +
         kRowTile * shape.scale_bytes * (shape.scales + shape.minima);
}

size_t PackedBytes(DType dtype, int64_t rows, int64_t columns) {
  BRAID_CHECK(columns % kBlockColumns == 0);
  const auto tiles = static_cast<size_t>((rows + kRowTile - 1) / kRowTile);
  return RoundUp(tiles * TileBytes(PackedFormatOf(dtype), columns), 64);
}

void PackRows(const Tensor& w, int64_t first_row, int64_t end_row,
              std::byte* out) {
  BRAID_CHECK(w.columns % kBlockColumns == 0);
  BRAID_CHECK(first_row % kRowTile == 0);
  BRAID_CHECK(end_row % kRowTile == 0 || end_row == w.rows);
  const PackedFormat format = PackedFormatOf(w.dtype);
  const size_t tile_bytes = TileBytes(format, w.columns);
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    std::byte* tile = out + static_cast<size_t>(r / kRowTile) * tile_bytes;
    const int rows = static_cast<int>(std::min<int64_t>(kRowTile, end_row - r));
    if (rows < kRowTile) std::memset(tile, 0, tile_bytes);
    if (format < PackedFormat::kF32) {
      PackQuantisedTile(w, format, r, rows, tile);
    } else {
      PackFloatTile(w, format, r, rows, tile);
    }
  }
}

void UnpackRow(const PackedMatrix& w, int64_t row, float* out) {
  const int block_bytes = PackedBlockBytes(w.format);
  const std::byte* block = w.data + static_cast<size_t>(row / kRowTile) *
                                        TileBytes(w.format, w.columns);
  const int r = static_cast<int>(row % kRowTile);
  if (!w.int8_inputs()) {
    const int bytes = FloatBytes(w.format);
    for (int64_t c = 0; c < w.columns; ++c) {
      const std::byte* p = block + FloatAt(w.format, r, c);
      uint16_t bits;
      std::memcpy(&bits, p, 2);
      out[c] = w.format == PackedFormat::kBF16 ? BFloat16ToFloat(bits)
                                               : LoadScale(p, bytes);
    }
    return;
  }
  const Shape shape = ShapeOf(w.format);
  const bool nibbles = IsNibbles(w.format);
  for (int64_t b = 0; b < w.columns / kBlockColumns;
       ++b, block += block_bytes) {
    const std::byte* scales = block + QuantBytes(w.format);
    const auto scale_at = [&](int i) {
      return LoadScale(scales + (i * kRowTile + r) * shape.scale_bytes,
                       shape.scale_bytes);
    };
    const float minimum = shape.minima > 0 ? scale_at(1) : 0.0f;
    for (int c = 0; c < kBlockColumns; ++c) {
      const float scale = scale_at(shape.scales * c / kBlockColumns);
      const int quant = LoadQuant(block, nibbles, r, c) - shape.zero;
      out[b * kBlockColumns + c] = scale * static_cast<float>(quant) + minimum;
    }
  }
}

}  // namespace braid::cpu
