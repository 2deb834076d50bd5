#include "simulator/gpu/gpu_step_time.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simulator/gpu/test_profiles.h"

namespace braid::gpu {
namespace {

GpuServing Serving(const char* model, int tp, const char* system = "h200_sxm") {
  GpuServing serving;
  serving.model = model;
  serving.system = system;
  serving.tensor_parallel = tp;
  serving.expert_tensor_parallel = tp;
  return serving;
}

GpuStepTime Load(const GpuServing& serving) {
  auto loaded = GpuStepTime::Load(TestProfiles(), serving);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return *loaded;
}

TEST(GpuStepTime, AnEmptyStepTakesNoTime) {
  const GpuStepTime worker = Load(Serving("Qwen/Qwen3-32B", 2));
  EXPECT_EQ(worker.Seconds({}, 0, 0), 0);
}

TEST(GpuStepTime, MoreNeverCostsLess) {
  for (const char* model :
       {"Qwen/Qwen3-32B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3",
        "Qwen/Qwen3.5-397B-A17B"}) {
    const GpuStepTime worker = Load(Serving(model, 8));
    double before = 0;
    for (uint32_t rows = 1; rows < 3000; rows += 1 + rows / 9) {
      const double now = worker.Seconds({}, rows, uint64_t{rows} * 2000);
      EXPECT_GE(now, before) << model << " rows " << rows;
      before = now;
    }
    before = 0;
    for (uint64_t context = 1; context < 400000; context += 1 + context / 9) {
      const double now = worker.Seconds({}, 32, 32 * context);
      EXPECT_GE(now, before) << model << " context " << context;
      before = now;
    }
    before = 0;
    for (uint32_t count = 1; count < 40000; count += 1 + count / 9) {
      const PromptChunk chunk{1000, count};
      const double now = worker.Seconds({&chunk, 1}, 16, 16000);
      EXPECT_GE(now, before) << model << " chunk " << count;
      before = now;
    }
    before = 0;
    for (uint32_t behind = 0; behind < 200000; behind += 1 + behind / 9) {
      const PromptChunk chunk{behind, 512};
      const double now = worker.Seconds({&chunk, 1}, 0, 0);
      // Between points of the grid a quadratic is a polyline.
      EXPECT_GE(now, before * 0.98) << model << " behind " << behind;
      before = now;
    }
  }
}

TEST(GpuStepTime, APromptRunsOnOneAttentionGroup) {
  GpuServing serving = Serving("deepseek-ai/DeepSeek-V3", 1);
  serving.attention_data_parallel = 8;
  serving.expert_parallel = 8;
  const GpuStepTime worker = Load(serving);
  const PromptChunk prompt{0, 4096};
  const auto seconds = [&](size_t prompts) {
    return worker.Seconds(std::vector<PromptChunk>(prompts, prompt), 0, 0);
  };
  // The other groups wait for it, or run one each meanwhile: only the experts
  // are shared.
  EXPECT_LT(seconds(8), 3 * seconds(1));
  EXPECT_GT(seconds(16), 1.7 * seconds(8));
}

TEST(GpuStepTime, ADecodeStepReadsAtLeastItsBytes) {
  // Weights of 70 B in 8 bits on two H200, and the KV of 64 x 8,192 tokens:
  // never faster than the memory, and not three times slower.
  const GpuStepTime worker = Load(Serving("meta-llama/Llama-3.1-70B", 2));
  const double weights = 68.4e9 / 2, bandwidth = 4.8e12;
  const double kv = 64.0 * 8192 * worker.kv_bytes_per_token() / 2;
  EXPECT_GT(worker.Seconds({}, 1, 10), weights / bandwidth);
  EXPECT_LT(worker.Seconds({}, 1, 10), 3 * weights / bandwidth);
  EXPECT_GT(worker.Seconds({}, 64, 64 * 8192),
            0.9 * (weights + kv) / bandwidth);
  EXPECT_LT(worker.Seconds({}, 64, 64 * 8192), 2 * (weights + kv) / bandwidth);
}

// A stream's row is one of a request but for the head; where it joins a step of
// one, most of what it costs is its own KV and the aggregator's weights.
TEST(GpuStepTime, AStreamIsARowWithoutAHead) {
  GpuServing serving = Serving("Qwen/Qwen3-32B", 2);
  serving.streams = 4;
  const GpuStepTime worker = Load(serving);
  constexpr uint64_t kContext = 8192;
  for (uint32_t requests : {1, 16, 64}) {
    const double alone = worker.Seconds({}, requests, requests * kContext);
    const double four =
        worker.Seconds({}, requests, 4 * requests * kContext, 3 * requests);
    const double kv = 3.0 * requests * kContext *
                      static_cast<double>(worker.kv_bytes_per_token()) / 2;
    const double aggregator = 4.0 * 5120 * 5120 / 2 * 2;
    EXPECT_GT(four - alone, 0.9 * (kv + aggregator) / 4.8e12) << requests;
    EXPECT_LT(four, alone + 2 * (kv + aggregator) / 4.8e12 + 1e-3) << requests;
    // Of as many requests each row would have one.
    EXPECT_LT(four, worker.Seconds({}, 4 * requests, 4 * requests * kContext) +
                        aggregator / 2e12 + 1e-4)
        << requests;
  }
}

TEST(GpuStepTime, KvOfATokenFollowsFromTheModel) {
  EXPECT_EQ(Load(Serving("Qwen/Qwen3-32B", 2)).kv_bytes_per_token(),
            64u * 2 * 8 * 128 * 2);
  // More GPUs than KV heads replicate them; a token is still one token.
  EXPECT_EQ(Load(Serving("Qwen/Qwen3-235B-A22B", 8)).kv_bytes_per_token(),
            94u * 2 * 4 * 128 * 2);
  EXPECT_EQ(Load(Serving("deepseek-ai/DeepSeek-V3", 8)).kv_bytes_per_token(),
            61u * (512 + 64) * 2);
  GpuServing serving = Serving("Qwen/Qwen3-32B", 2);
  serving.kv = KvFormat::kFp8;
  EXPECT_EQ(Load(serving).kv_bytes_per_token(), 64u * 2 * 8 * 128);
}

TEST(GpuStepTime, CapacityIsWhatTheWeightsLeave) {
  // 2 x 141 GiB... of which 93 % less 2 GB; 32.8 GB of weights in 8 bits and
  // 1.6 GB of vocabulary more in 16.
  const GpuStepTime worker = Load(Serving("Qwen/Qwen3-32B", 2));
  const double left = 2 * (0.93 * 151397597184.0 - 2e9) - 31.2e9 - 3.1e9;
  EXPECT_NEAR(worker.kv_capacity_tokens(), left / worker.kv_bytes_per_token(),
              0.02 * worker.kv_capacity_tokens());
  EXPECT_EQ(worker.gpus(), 2);
  // Known from elsewhere: 945,029 tokens beside Llama-3.1-8B-FP8 on an H200,
  // at 90 % of its memory and 16-bit KV.
  EXPECT_NEAR(
      Load(Serving("nvidia/Llama-3.1-8B-Instruct-FP8", 1)).kv_capacity_tokens(),
      945029, 0.06 * 945029);
}

TEST(GpuStepTime, SaysWhatItDoesNotKnow) {
  auto unknown = GpuStepTime::Load(TestProfiles(), Serving("nobody/x", 1));
  EXPECT_THAT(std::string(unknown.status().message()),
              testing::HasSubstr("models.csv"));
  unknown =
      GpuStepTime::Load(TestProfiles(), Serving("Qwen/Qwen3-32B", 1, "tpu"));
  EXPECT_THAT(std::string(unknown.status().message()),
              testing::HasSubstr("systems.csv"));
  unknown =
      GpuStepTime::Load(TestProfiles(), Serving("deepseek-ai/DeepSeek-V3", 1));
  EXPECT_THAT(std::string(unknown.status().message()),
              testing::HasSubstr("use more GPUs"));
  unknown = GpuStepTime::Load(TestProfiles(), Serving("Qwen/Qwen3-32B", 0));
  EXPECT_FALSE(unknown.ok());
}

TEST(GpuStepTime, EverySystemServesSomething) {
  for (const char* system : {"a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm",
                             "gb200", "b300_sxm", "gb300", "l40s"}) {
    for (const char* model :
         {"meta-llama/Llama-3.1-8B", "openai/gpt-oss-20b",
          "mistralai/Mixtral-8x7B-Instruct-v0.1", "google/gemma-3-27b-it"}) {
      const GpuStepTime worker = Load(Serving(model, 4, system));
      const double step = worker.Seconds({}, 16, 16 * 2000);
      EXPECT_GT(step, 1e-3) << system << " " << model;
      EXPECT_LT(step, 0.1) << system << " " << model;
    }
  }
}

}  // namespace
}  // namespace braid::gpu
