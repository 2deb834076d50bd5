// The default model on the CPU runner: sensible text.
#include <string>
#include <vector>

#include "cpu/cpu_runner.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cpu/golden/default_golden.h"
#include "tests/cpu/runner_driver.h"

namespace braid::cpu {
namespace {

TEST(DefaultModelRunTest, ContinuesTextSensibly) {
  auto file = ModelFile::Open(golden::DefaultModelPath());
  ASSERT_TRUE(file.ok()) << file.status()
                         << "; run deploy/quickstart.sh once to fetch it";
  for (const Isa isa : {BestIsa(), Isa::kPortable}) {
    auto model = CpuModel::Load(**file, isa, 2);
    ASSERT_TRUE(model.ok()) << model.status();
    RunnerDriver driver(*model, {.cores = {{0}, {1}}});
    // "The capital of France is"
    const std::vector<TokenId> prompt = {504, 3575, 282, 4649, 314};
    const std::vector<TokenId> text = driver.Greedy(prompt, 8);
    std::string shown;
    for (const TokenId token : text) {
      shown += (*file)->tokenizer().tokens[token];
    }
    EXPECT_THAT(shown, testing::HasSubstr("Paris")) << ToString(isa);
  }
}

}  // namespace
}  // namespace braid::cpu
