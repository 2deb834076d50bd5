#include "model/tensor.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace braid {
namespace {

struct Format {
  const char* name;
  int columns;  // per block
  int bytes;    // per block
};

// In the order of DType.
constexpr Format kFormats[] = {
    {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},
    {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},   {"Q8_0", 32, 34},   {"Q4_K", 256, 144},
    {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
};

const Format& FormatOf(DType dtype) {
  const auto i = static_cast<size_t>(dtype);
  BRAID_CHECK(i < std::size(kFormats));
  return kFormats[i];
}

// Unaligned little-endian loads; blocks have odd sizes.
template <typename T>
T Load(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
float LoadHalf(const uint8_t* p) { return HalfToFloat(Load<uint16_t>(p)); }

// The formats of 32 columns. Value i of the first half lies in the low nibble
// of byte i, value 16 + i in its high nibble; Q5's fifth bits are one word.
void DequantizeQ4(const uint8_t* block, bool has_min, float* out) {
  const float d = LoadHalf(block);
  const uint8_t* nibbles = block + (has_min ? 4 : 2);
  const float min = has_min ? LoadHalf(block + 2) : 0.0f;
  const int zero = has_min ? 0 : 8;
  for (int i = 0; i < 16; ++i) {
    const int low = (nibbles[i] & 15) - zero;
    const int high = (nibbles[i] >> 4) - zero;
    out[i] = d * static_cast<float>(low) + min;
    out[16 + i] = d * static_cast<float>(high) + min;
  }
}

void DequantizeQ5(const uint8_t* block, bool has_min, float* out) {
  const float d = LoadHalf(block);
  const uint8_t* rest = block + (has_min ? 4 : 2);
  const float min = has_min ? LoadHalf(block + 2) : 0.0f;
  const int zero = has_min ? 0 : 16;
  const auto fifth = Load<uint32_t>(rest);
  const uint8_t* nibbles = rest + 4;
  for (int i = 0; i < 32; ++i) {
    const int nibble = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
    const int q = (nibble | static_cast<int>((fifth >> i) & 1) << 4) - zero;
    out[i] = d * static_cast<float>(q) + min;
  }
}

void DequantizeQ8(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  for (int i = 0; i < 32; ++i) {
    out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  }
}

// Scale and min of sub-block `j` of 8, six bits each in 12 bytes: bytes 0..3
// and 4..7 hold the first four scales and mins, their two spare bits and the
// nibbles of bytes 8..11 the last four.
struct ScaleMin {
  int scale, min;
};
ScaleMin UnpackScaleMin(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4,
          (packed[j + 4] >> 4) | (packed[j] >> 6) << 4};
}

// Eight sub-blocks of 32 columns, taken in pairs: the low and the high nibbles
// of 32 bytes. Q5_K's fifth bit of sub-block j is bit j of fifths[column].
void DequantizeQ45K(const uint8_t* block, bool five_bits, float* out) {
  const float d = LoadHalf(block);
  const float dmin = LoadHalf(block + 2);
  const uint8_t* packed = block + 4;
  const uint8_t* fifths = block + 16;
  const uint8_t* nibbles = block + (five_bits ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, min] = UnpackScaleMin(packed, j);
    const float d_j = d * static_cast<float>(scale);
    const float min_j = dmin * static_cast<float>(min);
    const uint8_t* pair = nibbles + j / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      int q = j % 2 == 0 ? pair[i] & 15 : pair[i] >> 4;
      if (five_bits) q |= ((fifths[i] >> j) & 1) << 4;
      out[j * 32 + i] = d_j * static_cast<float>(q) - min_j;
    }
  }
}

// Two halves of 128 columns; a half is four groups of 32 whose low nibbles
// share 64 bytes (groups 0, 1 low, 2, 3 high) and whose upper two bits share
// 32. Sixteen columns have one signed scale.
void DequantizeQ6K(const uint8_t* block, float* out) {
  const float d = LoadHalf(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + half * 64;
    const uint8_t* high = block + 128 + half * 32;
    const uint8_t* scales = block + 192 + half * 8;
    for (int group = 0; group < 4; ++group) {
      for (int i = 0; i < 32; ++i) {
        const int byte = low[group % 2 * 32 + i];
        const int nibble = group < 2 ? byte & 15 : byte >> 4;
        const int q = (nibble | ((high[i] >> (2 * group)) & 3) << 4) - 32;
        const auto scale = static_cast<int8_t>(scales[group * 2 + i / 16]);
        out[half * 128 + group * 32 + i] =
            d * static_cast<float>(scale) * static_cast<float>(q);
      }
    }
  }
}

void DequantizeBlock(DType dtype, const uint8_t* block, float* out) {
  switch (dtype) {
    case DType::kF32:
      *out = Load<float>(block);
      return;
    case DType::kF16:
      *out = LoadHalf(block);
      return;
    case DType::kBF16:
      *out = BFloat16ToFloat(Load<uint16_t>(block));
      return;
    case DType::kQ4_0:
    case DType::kQ4_1:
      DequantizeQ4(block, dtype == DType::kQ4_1, out);
      return;
    case DType::kQ5_0:
    case DType::kQ5_1:
      DequantizeQ5(block, dtype == DType::kQ5_1, out);
      return;
    case DType::kQ8_0:
      DequantizeQ8(block, out);
      return;
    case DType::kQ4_K:
    case DType::kQ5_K:
      DequantizeQ45K(block, dtype == DType::kQ5_K, out);
      return;
    case DType::kQ6_K:
      DequantizeQ6K(block, out);
      return;
  }
}

}  // namespace

const char* ToString(DType dtype) { return FormatOf(dtype).name; }
int BlockColumns(DType dtype) { return FormatOf(dtype).columns; }
int BlockBytes(DType dtype) { return FormatOf(dtype).bytes; }

void DequantizeRow(DType dtype, const std::byte* row, int64_t columns,
                   float* out) {
  const Format& format = FormatOf(dtype);
  BRAID_CHECK(columns % format.columns == 0);
  const auto* block = reinterpret_cast<const uint8_t*>(row);
  for (int64_t c = 0; c < columns; c += format.columns) {
    DequantizeBlock(dtype, block, out + c);
    block += format.bytes;
  }
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t fraction = half & 1023;
  if (exponent == 31) {  // infinity, NaN
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  }
  if (exponent == 0) {  // zero, subnormal: fraction * 2^-24 is exact
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t FloatToHalf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) {
    return static_cast<uint16_t>(sign | 0x7e00 | ((bits >> 13) & 0x3ff));
  }
  if (magnitude >= 65520.0f) return sign | 0x7c00;  // rounds to infinity
  if (magnitude < 0x1p-14f) {
    // Adding 0.5 leaves the subnormal's units of 2^-24 in the last places of
    // the fraction, rounded by the addition itself.
    const auto sum = std::bit_cast<uint32_t>(magnitude + 0.5f);
    return static_cast<uint16_t>(sign | (sum - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t rebased = (bits & 0x7fffffff) - (112u << 23);
  const uint32_t rounded = rebased + 0xfff + ((rebased >> 13) & 1);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

float BFloat16ToFloat(uint16_t bfloat16) {
  return std::bit_cast<float>(static_cast<uint32_t>(bfloat16) << 16);
}

uint16_t FloatToBFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace braid
