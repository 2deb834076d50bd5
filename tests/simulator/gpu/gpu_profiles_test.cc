#include "simulator/gpu/gpu_profiles.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simulator/gpu/test_profiles.h"

namespace braid::gpu {
namespace {

std::string Found(const char* served) {
  const ModelShape* model = TestProfiles().FindModel(served);
  return model == nullptr ? "" : model->name;
}

TEST(GpuProfiles, FindsModelsByWhatTheyAreServedAs) {
  EXPECT_EQ(Found("Qwen/Qwen3-32B"), "qwen3-32b");
  EXPECT_EQ(Found("nvidia/Llama-3.1-8B-Instruct-FP8"), "llama-3.1-8b");
  EXPECT_EQ(Found("RedHatAI/Meta-Llama-3.1-70B-Instruct"), "llama-3.1-70b");
  EXPECT_EQ(Found("deepseek-ai/DeepSeek-R1-0528"), "deepseek-r1");
  // The longest name wins: a distilled Llama is no DeepSeek.
  EXPECT_EQ(Found("deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
            "deepseek-r1-distill-llama-70b");
  EXPECT_EQ(Found("Qwen/Qwen3-320B"), "");
  EXPECT_EQ(Found("moonshotai/Kimi-K2.7"), "");
  EXPECT_EQ(Found(""), "");
}

TEST(GpuProfiles, FindsSystems) {
  ASSERT_NE(TestProfiles().FindSystem("h200_sxm"), nullptr);
  EXPECT_EQ(TestProfiles().FindSystem("h200"),
            TestProfiles().FindSystem("h200_sxm"));
  EXPECT_EQ(TestProfiles().FindSystem("mi300x"), nullptr);
  for (const char* name : {"a100_sxm", "h100_sxm", "b200_sxm", "gb200",
                           "b300_sxm", "gb300", "l40s"}) {
    const GpuSystem* system = TestProfiles().FindSystem(name);
    ASSERT_NE(system, nullptr) << name;
    EXPECT_NE(TestProfiles().FindSystem(system->tables), nullptr) << name;
  }
}

TEST(GpuProfiles, FindsTheLaunchOfASweep) {
  // For prompts of 1,000 tokens from 8 clients.
  const auto budget = [](ServingEngine engine, const char* model,
                         const char* day) {
    const LaunchSetting* launch =
        TestProfiles().FindLaunch(engine, model, "b200_sxm", "fp8", day);
    return launch == nullptr ? -1 : launch->PromptBudget(1000, 8);
  };
  const auto trtllm = ServingEngine::kTrtLlm;
  EXPECT_EQ(budget(trtllm, "meta-llama/Llama-3.1-70B", "2025-10-29"), 16384);
  EXPECT_EQ(budget(trtllm, "deepseek-ai/DeepSeek-V3", "2026-01-15"), 1008);
  EXPECT_EQ(budget(trtllm, "deepseek-ai/DeepSeek-V3", "2026-01-16"), -1);
  EXPECT_EQ(budget(trtllm, "deepseek-ai/DeepSeek-V3", ""), 1508);
  EXPECT_EQ(
      budget(ServingEngine::kVllm, "deepseek-ai/DeepSeek-V3", "2025-11-02"),
      -1);
  const LaunchSetting* undated = TestProfiles().FindLaunch(
      trtllm, "Qwen/Qwen3-32B", "h100_sxm", "fp8", "");
  ASSERT_NE(undated, nullptr);
  EXPECT_EQ(undated->shortest_answer, 1);
}

TEST(GpuProfiles, ADirectoryWithoutThemIsAnErrorWithTheRemedy) {
  const auto read = GpuProfiles::Read("/nowhere");
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(std::string(read.status().message()),
              testing::AllOf(testing::HasSubstr("/nowhere/models.csv"),
                             testing::HasSubstr("--profiles"),
                             testing::HasSubstr("BRAID_PROFILES")));
}

}  // namespace
}  // namespace braid::gpu
