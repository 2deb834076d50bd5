#include "model/model_config.h"

#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid {
namespace {

ModelConfig Good() {
  ModelConfig config;
  config.layers = 2;
  config.hidden = 64;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.ffn = 128;
  config.vocabulary = 256;
  config.context = 512;
  return config;
}

TEST(ModelConfigTest, NamesTheFieldThatMakesNoSense) {
  EXPECT_TRUE(Validate(Good()).ok());
  using Change = std::function<void(ModelConfig&)>;
  const std::pair<const char*, Change> cases[] = {
      {"layers", [](ModelConfig& c) { c.layers = 0; }},
      {"hidden", [](ModelConfig& c) { c.hidden = -1; }},
      {"heads", [](ModelConfig& c) { c.heads = 1 << 20; }},
      {"KV heads", [](ModelConfig& c) { c.kv_heads = 3; }},
      {"head size", [](ModelConfig& c) { c.head_dim = 15; }},
      {"FFN", [](ModelConfig& c) { c.ffn = 0; }},
      {"vocabulary", [](ModelConfig& c) { c.vocabulary = INT32_MAX; }},
      {"context", [](ModelConfig& c) { c.context = 0; }},
      {"epsilon", [](ModelConfig& c) { c.rms_epsilon = NAN; }},
      {"RoPE base", [](ModelConfig& c) { c.rope.base = 1; }},
      {"factor",
       [](ModelConfig& c) {
         c.rope.scaling = RopeScaling::kLinear;
         c.rope.factor = 0;
       }},
      {"original context",
       [](ModelConfig& c) { c.rope.scaling = RopeScaling::kYarn; }},
      {"high frequency",
       [](ModelConfig& c) {
         c.rope.scaling = RopeScaling::kLlama3;
         c.rope.original_context = 64;
         c.rope.low_frequency_factor = c.rope.high_frequency_factor;
       }},
      {"divisors",
       [](ModelConfig& c) { c.rope.frequency_divisors.assign(7, 1.0f); }},
      {"divisor",
       [](ModelConfig& c) { c.rope.frequency_divisors.assign(8, 0.0f); }},
  };
  for (const auto& [name, change] : cases) {
    ModelConfig config = Good();
    change(config);
    const absl::Status status = Validate(config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(name));
  }
}

TEST(RopeTableTest, PlainFrequenciesArePowersOfTheBase) {
  RopeConfig rope;
  rope.base = 10000;
  const RopeTable table = MakeRopeTable(rope, 8);
  EXPECT_THAT(
      table.frequencies,
      testing::Pointwise(testing::FloatEq(), {1.0f, 0.1f, 0.01f, 0.001f}));
  EXPECT_EQ(table.magnitude, 1);
}

TEST(RopeTableTest, LinearAndExplicitDivisorsDivide) {
  RopeConfig rope;
  rope.scaling = RopeScaling::kLinear;
  rope.factor = 4;
  rope.frequency_divisors = {1, 2};
  const RopeTable table = MakeRopeTable(rope, 4);
  EXPECT_FLOAT_EQ(table.frequencies[0], 0.25f);
  EXPECT_FLOAT_EQ(table.frequencies[1], 0.01f / 8);
}

TEST(RopeTableTest, Llama3KeepsShortWavesAndStretchesLongOnes) {
  RopeConfig rope;
  rope.base = 500000;
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = 8;
  rope.original_context = 8192;
  const RopeTable plain = MakeRopeTable({.base = 500000}, 128);
  const RopeTable table = MakeRopeTable(rope, 128);
  for (size_t i = 0; i < 64; ++i) {
    const double turns = 8192 * plain.frequencies[i] / (2 * M_PI);
    const float ratio = plain.frequencies[i] / table.frequencies[i];
    if (turns > 4) {
      EXPECT_FLOAT_EQ(ratio, 1);
    }
    if (turns < 1) {
      EXPECT_FLOAT_EQ(ratio, 8);
    }
    EXPECT_GE(ratio, 1);
    EXPECT_LE(ratio, 8.0001f);
  }
}

TEST(RopeTableTest, YarnKeepsFastPairsAndRaisesTheMagnitude) {
  RopeConfig rope;
  rope.base = 1e6;
  rope.scaling = RopeScaling::kYarn;
  rope.factor = 4;
  rope.original_context = 32768;
  const RopeTable plain = MakeRopeTable({.base = 1e6}, 128);
  const RopeTable table = MakeRopeTable(rope, 128);
  EXPECT_FLOAT_EQ(table.frequencies[0], plain.frequencies[0]);
  EXPECT_FLOAT_EQ(table.frequencies[63], plain.frequencies[63] / 4);
  EXPECT_FLOAT_EQ(table.magnitude, 0.1f * std::log(4.0f) + 1);
  rope.attention_factor = 1.5f;
  EXPECT_EQ(MakeRopeTable(rope, 128).magnitude, 1.5f);
}

}  // namespace
}  // namespace braid
