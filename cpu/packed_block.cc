#include "cpu/packed_block.h"

#include <cstring>

#include "base/check.h"

namespace braid::cpu {
namespace {

float LoadHalf(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return HalfToFloat(half);
}

void SetScale(float scale, float minimum, QuantisedBlock& out) {
  out.scales[0] = out.scales[1] = scale;
  out.minimum = minimum;
}

void ReadNibbles(const uint8_t* p, uint8_t* quants) {
  for (int i = 0; i < 16; ++i) {
    quants[i] = p[i] & 15;
    quants[16 + i] = p[i] >> 4;
  }
}

void AddFifthBits(const uint8_t* p, int offset, uint8_t* quants) {
  uint32_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  for (int i = 0; i < 32; ++i) {
    quants[i] = static_cast<uint8_t>((quants[i] | ((bits >> i & 1) << 4)) +
                                     static_cast<uint32_t>(offset));
  }
}

// The 6-bit scale and minimum of sub-block `i` of 8, in the 12 bytes that Q4_K
// and Q5_K share. The last four have their upper bits in the first four's.
void SetScaleK(const uint8_t* block, int i, QuantisedBlock& out) {
  const uint8_t* p = block + 4;
  int scale, minimum;
  if (i < 4) {
    scale = p[i] & 63;
    minimum = p[4 + i] & 63;
  } else {
    scale = (p[4 + i] & 15) | (p[i - 4] >> 6 << 4);
    minimum = (p[4 + i] >> 4) | (p[i] >> 6 << 4);
  }
  SetScale(LoadHalf(block) * static_cast<float>(scale),
           -(LoadHalf(block + 2) * static_cast<float>(minimum)), out);
}

// Sub-blocks 2 j and 2 j + 1 are the low and high nibbles of the same bytes.
void ReadNibblesK(const uint8_t* p, int i, uint8_t* quants) {
  p += i / 2 * 32;
  for (int c = 0; c < 32; ++c) {
    quants[c] = i % 2 == 0 ? p[c] & 15 : p[c] >> 4;
  }
}

void ReadQ4K(const uint8_t* block, int i, QuantisedBlock& out) {
  SetScaleK(block, i, out);
  ReadNibblesK(block + 16, i, out.quants);
}

void ReadQ5K(const uint8_t* block, int i, QuantisedBlock& out) {
  SetScaleK(block, i, out);
  ReadNibblesK(block + 48, i, out.quants);
  const uint8_t* fifth = block + 16;
  for (int c = 0; c < 32; ++c) {
    out.quants[c] =
        static_cast<uint8_t>(out.quants[c] | (fifth[c] >> i & 1) << 4);
  }
}

// 256 columns: 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed
// scales, a half. Each 128 columns use 64 and 32 bytes of them.
void ReadQ6K(const uint8_t* block, int i, QuantisedBlock& out) {
  const int quarter = i % 4;  // of 128 columns
  const uint8_t* low = block + i / 4 * 64 + quarter % 2 * 32;
  const uint8_t* high = block + 128 + i / 4 * 32;
  for (int c = 0; c < 32; ++c) {
    const int nibble = quarter < 2 ? low[c] & 15 : low[c] >> 4;
    const int pair = high[c] >> (2 * quarter) & 3;
    out.quants[c] = static_cast<uint8_t>(nibble | pair << 4);
  }
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  const float d = LoadHalf(block + 208);
  out.scales[0] = d * static_cast<float>(scales[2 * i]);
  out.scales[1] = d * static_cast<float>(scales[2 * i + 1]);
  out.minimum = 0.0f;
}

}  // namespace

QuantisedBlock ReadBlock(DType dtype, const std::byte* row, int64_t b) {
  QuantisedBlock out;
  const int per_block = BlockColumns(dtype) / 32;
  const uint8_t* p =
      reinterpret_cast<const uint8_t*>(row) + b / per_block * BlockBytes(dtype);
  const int i = static_cast<int>(b % per_block);
  switch (dtype) {
    case DType::kQ4_0:
      SetScale(LoadHalf(p), 0.0f, out);
      ReadNibbles(p + 2, out.quants);
      return out;
    case DType::kQ4_1:
      SetScale(LoadHalf(p), LoadHalf(p + 2), out);
      ReadNibbles(p + 4, out.quants);
      return out;
    case DType::kQ5_0:
      SetScale(LoadHalf(p), 0.0f, out);
      ReadNibbles(p + 6, out.quants);
      AddFifthBits(p + 2, 128 - 16, out.quants);
      return out;
    case DType::kQ5_1:
      SetScale(LoadHalf(p), LoadHalf(p + 2), out);
      ReadNibbles(p + 8, out.quants);
      AddFifthBits(p + 4, 0, out.quants);
      return out;
    case DType::kQ8_0:
      SetScale(LoadHalf(p), 0.0f, out);
      for (int c = 0; c < 32; ++c) out.quants[c] = p[2 + c] ^ 0x80;
      return out;
    case DType::kQ4_K:
      ReadQ4K(p, i, out);
      return out;
    case DType::kQ5_K:
      ReadQ5K(p, i, out);
      return out;
    case DType::kQ6_K:
      ReadQ6K(p, i, out);
      return out;
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  BRAID_CHECK_MSG(false, "not a quantised format");
  return out;
}

}  // namespace braid::cpu
