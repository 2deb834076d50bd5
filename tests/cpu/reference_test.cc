// The reference against transformers (golden files) and closed forms.
#include "cpu/reference.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "tests/cpu/golden/tiny_golden.h"

namespace braid::reference {
namespace {

std::vector<double> LogSoftmax(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - max);
  std::vector<double> result(logits.begin(), logits.end());
  for (double& x : result) x -= max + std::log(sum);
  return result;
}

class TinyModelTest : public testing::TestWithParam<std::string> {
 protected:
  // The largest difference of a log probability at the golden positions.
  double MaxDifference(const std::vector<std::vector<float>>& expected,
                       LinearInputs inputs) const {
    const auto file = ModelFile::Open(golden::TinyModelPath(GetParam()));
    if (!file.ok()) {
      ADD_FAILURE() << file.status();
      return 0;
    }
    const std::vector<float> logits =
        Forward((*file)->config(), (*file)->weights(), golden_.tokens, inputs);
    const auto vocabulary = static_cast<size_t>((*file)->config().vocabulary);
    double difference = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto at = static_cast<size_t>(golden_.positions[i]);
      const auto got =
          LogSoftmax(std::span(logits).subspan(at * vocabulary, vocabulary));
      const auto want = LogSoftmax(expected[i]);
      for (size_t v = 0; v < vocabulary; ++v) {
        difference = std::max(difference, std::fabs(got[v] - want[v]));
      }
    }
    return difference;
  }

  const golden::TinyLogits golden_ = golden::ReadTinyLogits(GetParam());
};

TEST_P(TinyModelTest, LogprobsAreThoseOfTransformers) {
  EXPECT_LE(MaxDifference(golden_.logits, LinearInputs::kFloat), 1e-4);
}

TEST_P(TinyModelTest, RoundedInputsGiveTheirLogprobsToo) {
  EXPECT_LE(MaxDifference(golden_.int8_logits, LinearInputs::kInt8Blocks32),
            1e-4);
  // And it is the rounding that does it.
  EXPECT_GE(MaxDifference(golden_.int8_logits, LinearInputs::kFloat), 0.02);
}

INSTANTIATE_TEST_SUITE_P(All, TinyModelTest,
                         testing::ValuesIn(golden::TinyModels()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(RmsNormTest, DividesByTheRootMeanSquare) {
  const std::vector<float> x = {3, -4, 0, 0}, w = {1, 2, 1, 1};
  std::vector<float> y(4);
  RmsNorm(x, w, 0.75f, y);  // mean square 6.25, root of 7 with epsilon
  EXPECT_FLOAT_EQ(y[0], 3 / std::sqrt(7.0f));
  EXPECT_FLOAT_EQ(y[1], -8 / std::sqrt(7.0f));
}

TEST(RopeTest, BothPairingsRotateByPositionTimesFrequency) {
  RopeTable table;
  table.frequencies = {0.5f, 0.25f};
  std::vector<float> adjacent = {1, 0, 0, 1}, halves = {1, 0, 0, 1};
  Rope(table, RopePairing::kAdjacent, 2, adjacent);
  EXPECT_FLOAT_EQ(adjacent[0], std::cos(1.0f));
  EXPECT_FLOAT_EQ(adjacent[1], std::sin(1.0f));
  EXPECT_FLOAT_EQ(adjacent[2], -std::sin(0.5f));
  EXPECT_FLOAT_EQ(adjacent[3], std::cos(0.5f));
  Rope(table, RopePairing::kHalves, 2, halves);
  EXPECT_FLOAT_EQ(halves[0], std::cos(1.0f));
  EXPECT_FLOAT_EQ(halves[2], std::sin(1.0f));
  EXPECT_FLOAT_EQ(halves[1], -std::sin(0.5f));
  EXPECT_FLOAT_EQ(halves[3], std::cos(0.5f));
}

TEST(RoundToInt8BlocksTest, RoundsEachBlockByItsOwnScale) {
  std::vector<float> x(64);
  x[0] = -127;
  x[1] = 2.5f;  // half to even
  x[2] = 3.5f;
  x[32] = 1270;
  x[33] = 14;
  RoundToInt8Blocks(x);
  EXPECT_EQ(x[0], -127);
  EXPECT_EQ(x[1], 2);
  EXPECT_EQ(x[2], 4);
  EXPECT_EQ(x[32], 1270);
  EXPECT_EQ(x[33], 10);
  EXPECT_EQ(x[63], 0);
}

}  // namespace
}  // namespace braid::reference
