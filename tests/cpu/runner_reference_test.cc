// The whole runner against the scalar reference, for every instruction set, on
// small random models of every kind.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cpu/reference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cpu/runner_driver.h"
#include "tests/cpu/tiny_model.h"
#include "tests/support/test_name.h"

namespace braid::cpu {
namespace {

const TinyShape kShapes[] = {
    {.name = "llama"},
    {.name = "mixed_formats",
     .dtype = DType::kQ4_K,
     .value_dtype = DType::kQ6_K,
     .hidden = 256,
     .heads = 8,
     .kv_heads = 2,
     .ffn = 256},
    {.name = "qwen2",
     .dtype = DType::kQ8_0,
     .value_dtype = DType::kQ5_1,
     .hidden = 128,
     .heads = 2,
     .kv_heads = 2,
     .head_dim = 64,
     .pairing = RopePairing::kHalves,
     .tied = false,
     .biases = true},
    {.name = "qwen3",
     .dtype = DType::kQ4_0,
     .value_dtype = DType::kQ5_0,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .pairing = RopePairing::kHalves,
     .scaling = RopeScaling::kYarn,
     .head_norms = true},
    {.name = "llama_norms_biases",
     .dtype = DType::kF16,
     .value_dtype = DType::kF16,
     .scaling = RopeScaling::kLinear,
     .biases = true,
     .head_norms = true},
    {.name = "floats",
     .dtype = DType::kF16,
     .value_dtype = DType::kF32,
     .tied = false},
    {.name = "bfloat16", .dtype = DType::kBF16, .value_dtype = DType::kBF16},
};

std::vector<double> LogSoftmax(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(double{x} - max);
  std::vector<double> result(logits.begin(), logits.end());
  for (double& x : result) x -= max + std::log(sum);
  return result;
}

struct Case {
  Isa isa;
  TinyShape shape;
};
std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Isa isa : SupportedIsas()) {
    for (const TinyShape& shape : kShapes) cases.push_back({isa, shape});
  }
  return cases;
}

class RunnerReferenceTest : public testing::TestWithParam<Case> {};

TEST_P(RunnerReferenceTest, LogprobsOfAPromptAreThoseOfTheReference) {
  const auto& [isa, shape] = GetParam();
  const TinyModel tiny(shape);
  const std::vector<TokenId> tokens = tiny.RandomTokens(70, 5);
  const bool floats = BlockColumns(shape.dtype) == 1;
  const std::vector<float> logits =
      reference::Forward(tiny.config(), tiny.weights(), tokens,
                         floats ? reference::LinearInputs::kBFloat16
                                : reference::LinearInputs::kInt8Blocks32);

  RunnerDriver driver(tiny.Pack(isa),
                      {.cores = {{0, 1}}, .dtype = KvDType::kF32});
  RunnerDriver::Sequence sequence{.tokens = tokens};
  SequenceRows rows = driver.Rows(sequence, 70);
  rows.score_top_logprobs = TinyModel::kVocabulary;
  rows.score_targets = std::span(tokens).subspan(1);
  ForwardBatch batch;
  batch.sequences = {rows};
  const ForwardResult result = driver.Step(batch);

  const std::vector<SampledToken>& scores = result.sequences[0].scores;
  ASSERT_EQ(scores.size(), tokens.size() - 1);
  double total = 0, worst = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const std::vector<double> want = LogSoftmax(std::span(logits).subspan(
        i * TinyModel::kVocabulary, TinyModel::kVocabulary));
    ASSERT_EQ(scores[i].top.size(), want.size());
    EXPECT_EQ(scores[i].token, tokens[i + 1]);
    for (const TokenLogprob& t : scores[i].top) {
      const double error = std::abs(t.logprob - want[t.token]);
      total += error;
      worst = std::max(worst, error);
    }
  }
  const double mean =
      total / static_cast<double>(scores.size() * TinyModel::kVocabulary);
  // Where floats differ in their last bit, an input may round to the next
  // bfloat16 or int8.
  const bool bf16 = shape.dtype == DType::kBF16;
  EXPECT_LE(mean, bf16 ? 1e-3 : floats ? 1e-5 : 2e-3);
  EXPECT_LE(worst, bf16 ? 0.02 : floats ? 2e-4 : 0.1);
  RecordProperty("mean", std::to_string(mean));
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(All, RunnerReferenceTest, testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return TestName(ToString(info.param.isa)) + "_" +
                                  info.param.shape.name;
                         });

TEST(CpuModelTest, RefusesShapesItsKernelsDoNotTake) {
  const TinyModel tiny({.head_dim = 48});
  const auto model =
      CpuModel::Pack(tiny.config(), tiny.weights(), Isa::kPortable, 1);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(model.status().message()),
              testing::HasSubstr("head dimension is 48"));
}

}  // namespace
}  // namespace braid::cpu
