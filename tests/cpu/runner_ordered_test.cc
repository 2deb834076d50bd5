// The default model on the CPU runner against transformers with linear inputs
// rounded to int8 and its sums in the order that the kernels document
// (golden/make_ordered_golden.py). Two operations of one kernel swapped,
// and top-1 differs at 5 % of the positions, logprobs by up to 0.4.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cpu/golden/default_golden.h"
#include "tests/cpu/runner_driver.h"

namespace braid::cpu {
namespace {

class RunnerOrderedTest : public testing::TestWithParam<Isa> {
 protected:
  // Multiply-adds of plain C++ round twice; and the whole text would take it
  // half a minute.
  const bool portable_ = GetParam() == Isa::kPortable;
};

TEST_P(RunnerOrderedTest, ScoresOfTheGoldenText) {
  const auto file = ModelFile::Open(golden::DefaultModelPath());
  ASSERT_TRUE(file.ok()) << file.status()
                         << "; run deploy/quickstart.sh once to fetch it";
  const auto model = CpuModel::Load(**file, GetParam(), 2);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<TokenId> tokens = golden::ReadDefaultGolden().tokens;
  if (portable_) tokens.resize(600);
  RunnerDriver driver(*model, {.cores = {{0, 1}}});
  const std::vector<SampledToken> scores = driver.Score(tokens);
  ASSERT_EQ(scores.size() + 1, tokens.size());

  const golden::OrderedGolden golden = golden::ReadOrderedGolden();
  const golden::OrderedGolden::Text& text =
      portable_ ? golden.portable : golden.fused;
  size_t equal = 0;
  float furthest = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const TokenLogprob& best = scores[i].top[0];
    equal += best.token == text.best_ids[i];
    furthest =
        std::max({furthest, std::abs(best.logprob - text.best_logprobs[i]),
                  std::abs(scores[i].logprob - text.next_logprobs[i])});
  }
  std::printf("%s: top-1 equal on %zu of %zu, |d logprob| at most %.3g\n",
              std::string(ToString(GetParam())).c_str(), equal, scores.size(),
              static_cast<double>(furthest));
  EXPECT_EQ(equal, scores.size());
  // Log-softmax alone has an order of its own (1e-6), but for avx2 (1.4e-5):
  // the bytes of the output head, behind which nothing amplifies, are signed
  // there and have no minimum to add.
  EXPECT_LE(furthest, GetParam() == Isa::kAvx2 ? 3e-5f : 3e-6f);
}

INSTANTIATE_TEST_SUITE_P(All, RunnerOrderedTest,
                         testing::ValuesIn(SupportedIsas()),
                         [](const testing::TestParamInfo<Isa>& info) {
                           return std::string(ToString(info.param));
                         });

}  // namespace
}  // namespace braid::cpu
