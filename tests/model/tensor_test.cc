// The formats of weights against gguf.quants (blocks.bin) and closed forms.
#include "model/tensor.h"

#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "tests/cpu/golden/tiny_golden.h"

namespace braid {
namespace {

TEST(TensorTest, DequantizesEveryFormatAsGgufDoes) {
  std::map<std::string, DType> formats;
  for (int i = 0; i <= static_cast<int>(DType::kQ6_K); ++i) {
    formats[ToString(static_cast<DType>(i))] = static_cast<DType>(i);
  }
  golden::Cursor in(golden::TinyModelFolder() + "blocks.bin");
  while (!in.AtEnd()) {
    const auto padded = in.Take<char>(8);
    const std::string name(padded.data(),
                           strnlen(padded.data(), padded.size()));
    SCOPED_TRACE(name);
    ASSERT_EQ(formats.count(name), 1u);
    const DType dtype = formats[name];
    formats.erase(name);
    const auto columns = in.Take<uint32_t>();
    const auto bytes = in.Take<uint32_t>();
    const auto data = in.Take<std::byte>(bytes);
    const auto expected = in.Take<float>(columns);
    const Tensor tensor = {dtype, 1, columns, data.data()};
    ASSERT_EQ(tensor.bytes(), bytes);
    std::vector<float> values(columns);
    DequantizeRow(dtype, tensor.row(0), columns, values.data());
    EXPECT_EQ(values, expected);
  }
  EXPECT_TRUE(formats.empty())
      << "not in blocks.bin: " << formats.begin()->first;
}

// The value of a finite half by definition.
double HalfByDefinition(int half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  const double magnitude = exponent == 0
                               ? std::ldexp(fraction, -24)
                               : std::ldexp(1024 + fraction, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

TEST(TensorTest, HalvesConvertBothWays) {
  for (int half = 0; half < 0x10000; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    const float value = HalfToFloat(bits);
    if ((half & 0x7c00) == 0x7c00) {
      EXPECT_EQ(std::isnan(value), (half & 0x3ff) != 0);
      EXPECT_EQ(std::isinf(value), (half & 0x3ff) == 0);
      continue;
    }
    ASSERT_EQ(value, HalfByDefinition(half));
    ASSERT_EQ(FloatToHalf(value), bits);
    // Half way to the next one: the even one wins, a hair decides otherwise.
    if ((half & 0x7fff) == 0x7bff) continue;
    const double next = HalfByDefinition(half + 1);
    const auto middle = static_cast<float>((value + next) / 2);
    ASSERT_EQ(FloatToHalf(middle), half % 2 == 0 ? half : half + 1);
    ASSERT_EQ(FloatToHalf(std::nextafterf(middle, value)), half);
    ASSERT_EQ(FloatToHalf(std::nextafterf(middle, static_cast<float>(next))),
              half + 1);
  }
}

TEST(TensorTest, FloatsBeyondHalvesBecomeInfinity) {
  EXPECT_EQ(FloatToHalf(65519.996f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(-1e30f), 0xfc00);
  EXPECT_EQ(FloatToHalf(1e-30f), 0);
  EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(std::nanf("")))));
}

TEST(TensorTest, BFloat16RoundsToNearestEven) {
  EXPECT_EQ(FloatToBFloat16(1.0f), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(1.00390625f), 0x3f80);  // half way, down to even
  EXPECT_EQ(FloatToBFloat16(1.01171875f), 0x3f82);  // half way, up to even
  EXPECT_EQ(FloatToBFloat16(std::nextafterf(1.00390625f, 2)), 0x3f81);
  EXPECT_EQ(FloatToBFloat16(3.4e38f), 0x7f80);
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(std::nanf("")))));
  EXPECT_EQ(BFloat16ToFloat(0xc000), -2.0f);
}

}  // namespace
}  // namespace braid
