#include "cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cpu/random_weights.h"

namespace braid::cpu {
namespace {

constexpr double kEpsilon = 0x1p-24;  // half of a float's last bit

int64_t PaddedRows(int64_t rows) {
  return (rows + kRowTile - 1) / kRowTile * kRowTile;
}

// All of y = W x, asked for in one call.
std::vector<float> Multiply(const Kernels& kernels, const PackedMatrix& w,
                            const Activations& x, int32_t tokens) {
  const int64_t stride = PaddedRows(w.rows);
  std::vector<float> y(static_cast<size_t>(tokens * stride), NAN);
  kernels.matmul(w, x, 0, tokens, 0, w.rows, y.data(), stride);
  return y;
}

// The exact element and the sum of the magnitudes that a kernel adds up to get
// there. A zero point is added back as a minimum, so weights count with it.
struct Exact {
  double value = 0;
  double magnitude = 0;
};

double ZeroPointMagnitude(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return 8;
    case DType::kQ6_K:
      return 32;
    case DType::kQ5_0:
    case DType::kQ8_0:
      return 128;
    default:
      return 0;
  }
}

// An upper bound of what a weight adds to the magnitude: |weight| itself for
// floats; |scale| * quant + |minimum| <= 3 * the block's largest weight for
// formats with a minimum; scale * zero more for those with a zero point.
std::vector<double> Magnitudes(DType dtype, const std::vector<float>& row) {
  std::vector<double> magnitudes(row.size());
  for (size_t first = 0; first < row.size(); first += kBlockColumns) {
    double largest = 0;
    for (size_t c = first; c < first + kBlockColumns; ++c) {
      magnitudes[c] = std::fabs(row[c]);
      largest = std::fmax(largest, magnitudes[c]);
    }
    if (BlockColumns(dtype) == 1) continue;
    for (size_t c = first; c < first + kBlockColumns; ++c) {
      magnitudes[c] = (3 + ZeroPointMagnitude(dtype)) * largest;
    }
  }
  return magnitudes;
}

Exact ExactElement(const std::vector<float>& row,
                   const std::vector<double>& magnitudes, PackedFormat format,
                   const Activations& x, int64_t token) {
  Exact exact;
  for (size_t c = 0; c < row.size(); ++c) {
    const size_t at = static_cast<size_t>(token) * row.size() + c;
    const ActivationBlock& block = x.blocks[at / kBlockColumns];
    double value = x.values[at];
    if (format == PackedFormat::kBF16) {
      value = BFloat16ToFloat(FloatToBFloat16(x.values[at]));
    } else if (format < PackedFormat::kF32) {
      value = static_cast<double>(block.quants[at % kBlockColumns]) *
              static_cast<double>(block.scale);
    }
    exact.value += static_cast<double>(row[c]) * value;
    exact.magnitude += magnitudes[c] * std::fabs(value);
  }
  return exact;
}

using FormatAndIsa = std::tuple<DType, Isa>;

class MatmulTest : public testing::TestWithParam<FormatAndIsa> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  const Kernels& kernels() const { return KernelsFor(std::get<1>(GetParam())); }
  Isa isa() const { return std::get<1>(GetParam()); }
  // A multiple of what the format's blocks need.
  int32_t Columns(int32_t blocks_of_32) const {
    const int32_t block = std::max(BlockColumns(dtype()), 32);
    return (blocks_of_32 * 32 + block - 1) / block * block;
  }
};

TEST_P(MatmulTest, MatchesTheExactProduct) {
  Rng rng(11);
  for (const auto& [rows, blocks, tokens] : {std::tuple{16, 1, 1},
                                             {5, 2, 3},
                                             {33, 18, 17},
                                             {48, 64, 2},
                                             {20, 7, 13},
                                             {32, 48, 25}}) {
    const int32_t columns = Columns(blocks);
    const RandomWeights w(dtype(), rows, columns, rng);
    const Packed packed(w.tensor());
    const RandomActivations input(tokens, columns, rng, isa());
    const auto y = Multiply(kernels(), packed.matrix(), input.x(), tokens);
    std::vector<float> row(static_cast<size_t>(columns));
    for (int64_t r = 0; r < rows; ++r) {
      DequantizeRow(dtype(), w.tensor().row(r), columns, row.data());
      const auto magnitudes = Magnitudes(dtype(), row);
      for (int64_t t = 0; t < tokens; ++t) {
        const Exact exact =
            ExactElement(row, magnitudes, packed.matrix().format, input.x(), t);
        // Each term meets at most one rounding per block or column after it,
        // and three of its own.
        const int roundings =
            BlockColumns(dtype()) > 1 ? 4 * columns / 32 + 3 : columns + 3;
        const double bound = roundings * kEpsilon * exact.magnitude + 1e-30;
        ASSERT_NEAR(y[static_cast<size_t>(t * PaddedRows(rows) + r)],
                    exact.value, bound)
            << rows << " x " << columns << ", token " << t << ", row " << r;
      }
    }
  }
}

TEST_P(MatmulTest, PadsWithZerosAndTouchesNothingElse) {
  Rng rng(12);
  const int32_t columns = Columns(8);
  const RandomWeights w(dtype(), 21, columns, rng);
  const Packed packed(w.tensor());
  const RandomActivations input(3, columns, rng, isa());
  const int64_t stride = 80;
  std::vector<float> y(3 * 80, 7.0f);
  kernels().matmul(packed.matrix(), input.x(), 1, 3, 16, 21, y.data(), stride);
  for (int64_t i = 0; i < 3 * stride; ++i) {
    const int64_t token = i / stride, row = i % stride;
    if (token == 0 || row < 16 || row >= 32) {
      EXPECT_EQ(y[static_cast<size_t>(i)], 7.0f) << token << ", " << row;
    } else if (row >= 21) {
      EXPECT_EQ(y[static_cast<size_t>(i)], 0.0f) << token << ", " << row;
    }
  }
}

// Every number of tokens, first and last ones, in different row ranges: the
// bits are those of one token and one row tile alone.
TEST_P(MatmulTest, BitsDoNotDependOnTheBatch) {
  constexpr int32_t kTokens = 37;
  constexpr int64_t kRows = 48;
  Rng rng(13);
  const int32_t columns = Columns(18);
  const RandomWeights w(dtype(), kRows, columns, rng);
  const Packed packed(w.tensor());
  const RandomActivations input(kTokens, columns, rng, isa());
  std::vector<float> alone(kTokens * kRows), y(kTokens * kRows);
  for (int32_t t = 0; t < kTokens; ++t) {
    for (int64_t r = 0; r < kRows; r += 16) {
      kernels().matmul(packed.matrix(), input.x(), t, t + 1, r, r + 16,
                       alone.data(), kRows);
    }
  }
  for (int32_t tokens = 1; tokens <= kTokens; ++tokens) {
    for (const bool late : {false, true}) {
      const int32_t first = late ? kTokens - tokens : 0;
      const int64_t first_row = late ? 16 : 0;
      std::fill(y.begin(), y.end(), NAN);
      kernels().matmul(packed.matrix(), input.x(), first, first + tokens,
                       first_row, kRows, y.data(), kRows);
      for (int32_t t = first; t < first + tokens; ++t) {
        const auto at = static_cast<size_t>(t * kRows + first_row);
        const auto bytes = static_cast<size_t>(kRows - first_row) * 4;
        ASSERT_EQ(std::memcmp(&y[at], &alone[at], bytes), 0)
            << tokens << " tokens from " << first << ", token " << t;
      }
    }
  }
}

// Shows that the comparison above would notice a sum taken in another order:
// the same blocks from right to left give the same number, in other bits.
TEST_P(MatmulTest, AnotherOrderOfBlocksHasOtherBits) {
  Rng rng(14);
  const int32_t columns = Columns(24);
  const RandomWeights w(dtype(), 64, columns, rng);
  const size_t block = static_cast<size_t>(std::max(BlockColumns(dtype()), 32));
  const size_t block_bytes = block /
                             static_cast<size_t>(BlockColumns(dtype())) *
                             static_cast<size_t>(BlockBytes(dtype()));
  std::vector<std::byte> turned(w.tensor().bytes());
  const size_t blocks = turned.size() / block_bytes;
  const size_t per_row = static_cast<size_t>(columns) / block;
  for (size_t i = 0; i < blocks; ++i) {
    const size_t from = i / per_row * per_row + (per_row - 1 - i % per_row);
    std::memcpy(&turned[i * block_bytes], w.tensor().data + from * block_bytes,
                block_bytes);
  }
  Tensor turned_tensor = w.tensor();
  turned_tensor.data = turned.data();
  const RandomActivations input(1, columns, rng, isa());
  AlignedBytes bytes(ActivationBytes(1, columns));
  const Activations turned_x = PlaceActivations(1, columns, bytes.data());
  for (size_t c = 0; c < static_cast<size_t>(columns); ++c) {
    const size_t from = (per_row - 1 - c / block) * block + c % block;
    turned_x.values[c] = input.x().values[from];
  }
  kernels().quantize(turned_x, 0, 1);
  kernels().round(turned_x, 0, 1);
  const Packed packed(w.tensor()), turned_packed(turned_tensor);
  const auto y = Multiply(kernels(), packed.matrix(), input.x(), 1);
  const auto z = Multiply(kernels(), turned_packed.matrix(), turned_x, 1);
  int different = 0;
  for (size_t r = 0; r < 64; ++r) {
    EXPECT_NEAR(y[r], z[r], 1e-3 * (1 + std::fabs(y[r])));
    different += y[r] != z[r] ? 1 : 0;
  }
  EXPECT_GT(different, 16);
}

// Without rounded activations a BF16 matrix sees the values as they are.
TEST_P(MatmulTest, Bf16WeightsTakeFloatsToo) {
  if (dtype() != DType::kBF16) return;
  Rng rng(15);
  const RandomWeights w(dtype(), 48, 576, rng);
  const Packed packed(w.tensor());
  const RandomActivations input(7, 576, rng, isa());
  Activations floats = input.x();
  floats.rounded = nullptr;
  const auto y = Multiply(kernels(), packed.matrix(), floats, 7);
  std::vector<float> row(576);
  for (int64_t r = 0; r < 48; ++r) {
    DequantizeRow(dtype(), w.tensor().row(r), 576, row.data());
    for (int64_t t = 0; t < 7; ++t) {
      const Exact exact = ExactElement(row, Magnitudes(dtype(), row),
                                       PackedFormat::kF32, floats, t);
      ASSERT_NEAR(y[static_cast<size_t>(t * 48 + r)], exact.value,
                  579 * kEpsilon * exact.magnitude);
    }
  }
}

std::string NameOf(const testing::TestParamInfo<FormatAndIsa>& info) {
  return std::string(ToString(std::get<0>(info.param))) + "_" +
         std::string(ToString(std::get<1>(info.param)));
}
INSTANTIATE_TEST_SUITE_P(EveryFormatAndTable, MatmulTest,
                         testing::Combine(testing::ValuesIn(kAllDTypes),
                                          testing::ValuesIn(SupportedIsas())),
                         NameOf);

TEST(IsaTest, NamesRoundTripAndAutoIsTheBest) {
  for (const Isa isa : SupportedIsas()) {
    const auto parsed = ParseIsa(ToString(isa));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, isa);
    EXPECT_EQ(KernelsFor(isa).isa, isa);
  }
  EXPECT_EQ(*ParseIsa("auto"), BestIsa());
  EXPECT_EQ(SupportedIsas().front(), Isa::kPortable);
}

TEST(IsaTest, UnknownNamesListTheKnown) {
  const auto parsed = ParseIsa("neon");
  ASSERT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(parsed.status().message().find("portable"), std::string::npos);
}

}  // namespace
}  // namespace braid::cpu
