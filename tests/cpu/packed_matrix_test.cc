#include "cpu/packed_matrix.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cpu/random_weights.h"

namespace braid::cpu {
namespace {

std::vector<float> Dequantized(const Tensor& w, int64_t row) {
  std::vector<float> out(static_cast<size_t>(w.columns));
  DequantizeRow(w.dtype, w.row(row), w.columns, out.data());
  return out;
}

class PackedMatrixTest : public testing::TestWithParam<DType> {};

TEST_P(PackedMatrixTest, UnpacksToTheDequantizedRows) {
  Rng rng(1);
  const RandomWeights w(GetParam(), 37, 512, rng);
  const Packed packed(w.tensor());
  std::vector<float> row(512);
  for (int64_t r = 0; r < 37; ++r) {
    UnpackRow(packed.matrix(), r, row.data());
    EXPECT_EQ(row, Dequantized(w.tensor(), r)) << "row " << r;
  }
}

TEST_P(PackedMatrixTest, PackingInRangesGivesTheSameBytes) {
  Rng rng(2);
  const RandomWeights w(GetParam(), 53, 256, rng);
  const size_t bytes = PackedBytes(GetParam(), 53, 256);
  EXPECT_EQ(bytes % 64, 0u);
  std::vector<std::byte> whole(bytes), parts(bytes);
  PackRows(w.tensor(), 0, 53, whole.data());
  PackRows(w.tensor(), 32, 53, parts.data());
  PackRows(w.tensor(), 0, 16, parts.data());
  PackRows(w.tensor(), 16, 32, parts.data());
  EXPECT_EQ(whole, parts);
}

TEST_P(PackedMatrixTest, WritesNoByteBeyondItsOwn) {
  Rng rng(3);
  const RandomWeights w(GetParam(), 17, 256, rng);
  const size_t bytes = PackedBytes(GetParam(), 17, 256);
  std::vector<std::byte> out(bytes + 64, std::byte{0xa5});
  PackRows(w.tensor(), 0, 17, out.data());
  for (size_t i = bytes; i < out.size(); ++i) {
    ASSERT_EQ(out[i], std::byte{0xa5});
  }
}

INSTANTIATE_TEST_SUITE_P(AllFormats, PackedMatrixTest,
                         testing::ValuesIn(kAllDTypes), [](const auto& info) {
                           return std::string(ToString(info.param));
                         });

// What decode reads per weight is what bounds it.
TEST(PackedBytesTest, WasteNoByte) {
  EXPECT_EQ(PackedBytes(DType::kQ4_0, 16, 32), 320u);  // 288, to 64
  EXPECT_EQ(PackedBytes(DType::kQ4_0, 64, 32), 4u * 288);
  EXPECT_EQ(PackedBytes(DType::kQ4_1, 16, 32), 320u);
  EXPECT_EQ(PackedBytes(DType::kQ8_0, 32, 32), 2u * 544);
  EXPECT_EQ(PackedBytes(DType::kF16, 16, 32), 1024u);
}

}  // namespace
}  // namespace braid::cpu
