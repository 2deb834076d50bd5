#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cpu/random_weights.h"

namespace braid::cpu {
namespace {

// Activations of one token that own their memory.
struct OneToken {
  explicit OneToken(const std::vector<float>& values)
      : bytes(ActivationBytes(1, static_cast<int32_t>(values.size()))),
        x(PlaceActivations(1, static_cast<int32_t>(values.size()),
                           bytes.data())) {
    std::memcpy(x.values, values.data(), values.size() * sizeof(float));
  }
  AlignedBytes bytes;
  Activations x;
};

int QuantOf(const Activations& x, int column) {
  return x.blocks[column / 32].quants[column % 32];
}

class QuantizeTest : public testing::TestWithParam<Isa> {
 protected:
  const Kernels& kernels() const { return KernelsFor(GetParam()); }
};

TEST_P(QuantizeTest, MatchesTheDefinition) {
  Rng rng(5);
  std::vector<float> values(4096);
  for (float& v : values) v = static_cast<float>(rng.Uniform() * 20 - 10);
  OneToken token(values);
  kernels().quantize(token.x, 0, 1);
  for (size_t b = 0; b < values.size() / 32; ++b) {
    float amax = 0;
    for (size_t c = 0; c < 32; ++c) {
      amax = std::fmax(amax, std::fabs(values[b * 32 + c]));
    }
    EXPECT_EQ(token.x.blocks[b].scale, amax / 127.0f);
    int sums[2] = {};
    for (size_t c = 0; c < 32; ++c) {
      // The default rounding mode is to nearest even.
      const float q = std::nearbyint(values[b * 32 + c] * (127.0f / amax));
      EXPECT_EQ(token.x.blocks[b].quants[c], static_cast<int>(q));
      sums[c / 16] += static_cast<int>(q);
    }
    const float scale = token.x.blocks[b].scale;
    EXPECT_EQ(token.x.blocks[b].half_sums[0],
              scale * static_cast<float>(sums[0]));
    EXPECT_EQ(token.x.blocks[b].half_sums[1],
              scale * static_cast<float>(sums[1]));
    EXPECT_EQ(token.x.blocks[b].sum,
              scale * static_cast<float>(sums[0] + sums[1]));
  }
}

TEST_P(QuantizeTest, RoundsTiesToEven) {
  std::vector<float> values(32, 0.0f);
  values[0] = 127.0f;
  for (int i = 1; i < 32; ++i) values[i] = static_cast<float>(i - 16) + 0.5f;
  OneToken token(values);
  kernels().quantize(token.x, 0, 1);
  EXPECT_EQ(QuantOf(token.x, 16), 0);   // 0.5
  EXPECT_EQ(QuantOf(token.x, 17), 2);   // 1.5
  EXPECT_EQ(QuantOf(token.x, 18), 2);   // 2.5
  EXPECT_EQ(QuantOf(token.x, 15), 0);   // -0.5
  EXPECT_EQ(QuantOf(token.x, 14), -2);  // -1.5
}

TEST_P(QuantizeTest, ZeroAndDenormalBlocksBecomeZeros) {
  std::vector<float> values(64, 0.0f);
  for (int i = 32; i < 64; ++i) {
    values[i] =
        std::numeric_limits<float>::denorm_min() * static_cast<float>(i);
  }
  OneToken token(values);
  std::memset(token.x.blocks, 99, 2 * sizeof(ActivationBlock));
  kernels().quantize(token.x, 0, 1);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(QuantOf(token.x, i), 0);
  for (int b = 0; b < 2; ++b) {
    EXPECT_EQ(token.x.blocks[b].scale, 0.0f);
    EXPECT_EQ(token.x.blocks[b].sum, 0.0f);
  }
}

TEST_P(QuantizeTest, SmallestAndLargestBlocksStayFinite) {
  std::vector<float> values(64, 0.0f);
  values[0] = kSmallestAmax;
  values[32] = std::numeric_limits<float>::max();
  values[33] = -std::numeric_limits<float>::max();
  OneToken token(values);
  kernels().quantize(token.x, 0, 1);
  EXPECT_EQ(QuantOf(token.x, 0), 127);
  EXPECT_EQ(QuantOf(token.x, 32), 127);
  EXPECT_EQ(QuantOf(token.x, 33), -127);
  EXPECT_TRUE(std::isfinite(token.x.blocks[1].scale));
}

TEST_P(QuantizeTest, InfinityAndNanAreSeen) {
  std::vector<float> values(96, 1.0f);
  values[3] = std::numeric_limits<float>::infinity();
  values[40] = std::numeric_limits<float>::quiet_NaN();
  OneToken token(values);
  kernels().quantize(token.x, 0, 1);
  EXPECT_TRUE(std::isnan(token.x.blocks[0].scale));
  EXPECT_TRUE(std::isnan(token.x.blocks[1].scale));
  EXPECT_TRUE(std::isnan(token.x.blocks[0].sum));
  EXPECT_EQ(QuantOf(token.x, 3), 0);
  EXPECT_EQ(token.x.blocks[2].scale, 1.0f / 127.0f);
}

TEST_P(QuantizeTest, IsTheSameInEveryTable) {
  Rng rng(6);
  const RandomActivations ours(5, 576, rng, GetParam());
  Rng again(6);
  const RandomActivations portable(5, 576, again, Isa::kPortable);
  EXPECT_EQ(std::memcmp(ours.x().blocks, portable.x().blocks,
                        5 * 18 * sizeof(ActivationBlock)),
            0);
}

// An element of `rounded`, which tables with BF16 instructions keep as
// bfloat16.
float Rounded(const Activations& x, Isa isa, int column) {
  if (isa < Isa::kAvx512Bf16) {
    return reinterpret_cast<const float*>(x.rounded)[column];
  }
  return BFloat16ToFloat(reinterpret_cast<const uint16_t*>(x.rounded)[column]);
}

TEST_P(QuantizeTest, RoundsToTheNearestBFloat16) {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1.00390625f,   // half way, down to even
                               -1.01171875f,  // half way, up to even
                               std::nextafterf(1.00390625f, 2.0f),
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::min()};
  Rng rng(7);
  while (values.size() < 96) {
    values.push_back(static_cast<float>(rng.Uniform() - 0.5));
  }
  // Of which any bits may be set.
  const uint32_t nans[] = {0x7fffffff, 0xff800001, 0x7fc00000};
  std::memcpy(&values[60], nans, sizeof(nans));
  OneToken token(values);
  kernels().round(token.x, 0, 1);
  for (int c = 0; c < 96; ++c) {
    const float rounded = Rounded(token.x, GetParam(), c);
    if (std::isnan(values[c])) {
      EXPECT_TRUE(std::isnan(rounded)) << c;
    } else {
      EXPECT_EQ(rounded, BFloat16ToFloat(FloatToBFloat16(values[c]))) << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTable, QuantizeTest,
                         testing::ValuesIn(SupportedIsas()),
                         [](const auto& info) {
                           return std::string(ToString(info.param));
                         });

}  // namespace
}  // namespace braid::cpu
