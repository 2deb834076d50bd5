#include "tests/cpu/random_weights.h"

#include <cstring>

namespace braid::cpu {
namespace {

float Spread(Rng& rng) {
  return static_cast<float>(rng.Uniform() + rng.Uniform() + rng.Uniform() -
                            1.5);
}

void StoreHalf(float value, std::byte* p) {
  const uint16_t half = FloatToHalf(value);
  std::memcpy(p, &half, sizeof(half));
}

// Where the half-precision scales lie in a block, -1 when there is none.
struct ScalePlaces {
  int first, second;
};
ScalePlaces PlacesIn(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
      return {0, -1};
    case DType::kQ6_K:
      return {208, -1};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    default:
      return {-1, -1};
  }
}

void FillFloat(DType dtype, float value, std::byte* p) {
  if (dtype == DType::kF32) {
    std::memcpy(p, &value, sizeof(value));
    return;
  }
  const uint16_t bits =
      dtype == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
  std::memcpy(p, &bits, sizeof(bits));
}

}  // namespace

RandomWeights::RandomWeights(DType dtype, int64_t rows, int64_t columns,
                             Rng& rng) {
  tensor_ = {dtype, rows, columns, nullptr};
  bytes_.resize(tensor_.bytes());
  tensor_.data = bytes_.data();
  const auto block_bytes = static_cast<size_t>(BlockBytes(dtype));
  const ScalePlaces places = PlacesIn(dtype);
  for (size_t at = 0; at < bytes_.size(); at += block_bytes) {
    std::byte* block = bytes_.data() + at;
    if (BlockColumns(dtype) == 1) {
      FillFloat(dtype, Spread(rng), block);
      continue;
    }
    for (size_t i = 0; i < block_bytes; ++i) block[i] = std::byte(rng());
    StoreHalf(0.1f * Spread(rng), block + places.first);
    if (places.second >= 0)
      StoreHalf(0.1f * Spread(rng), block + places.second);
  }
}

Packed::Packed(const Tensor& w)
    : bytes_(PackedBytes(w.dtype, w.rows, w.columns)) {
  PackRows(w, 0, w.rows, bytes_.data());
  matrix_ = {PackedFormatOf(w.dtype), w.rows, w.columns, bytes_.data()};
}

RandomActivations::RandomActivations(int32_t tokens, int32_t columns, Rng& rng,
                                     Isa isa)
    : bytes_(ActivationBytes(tokens, columns)),
      x_(PlaceActivations(tokens, columns, bytes_.data())) {
  for (int64_t i = 0; i < int64_t{tokens} * columns; ++i) {
    x_.values[i] = Spread(rng);
  }
  KernelsFor(isa).quantize(x_, 0, tokens);
  KernelsFor(isa).round(x_, 0, tokens);
}

}  // namespace braid::cpu
