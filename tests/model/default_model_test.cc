// The default model as it is on disk: every number that was read by an
// independent reader (the gguf Python package).
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model_file.h"

namespace braid {
namespace {

std::string DefaultModelPath() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string base = cache != nullptr && *cache != '\0'
                               ? std::string(cache)
                               : std::string(home ? home : "") + "/.cache";
  return base + "/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

class DefaultModelTest : public testing::Test {
 protected:
  void SetUp() override {
    auto file = ModelFile::Open(DefaultModelPath());
    ASSERT_TRUE(file.ok()) << file.status()
                           << "\nrun tests/run.sh, which fetches the model";
    file_ = *std::move(file);
  }
  std::unique_ptr<ModelFile> file_;
};

TEST_F(DefaultModelTest, HasTheConfigurationOfSmolLm2) {
  const ModelConfig& config = file_->config();
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.hidden, 576);
  EXPECT_EQ(config.heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.ffn, 1536);
  EXPECT_EQ(config.vocabulary, 49152);
  EXPECT_EQ(config.context, 8192);
  EXPECT_EQ(config.rope.base, 100000.0f);
  EXPECT_EQ(config.rope.pairing, RopePairing::kAdjacent);
  EXPECT_EQ(config.rope.scaling, RopeScaling::kNone);
  EXPECT_TRUE(config.tied_embeddings);
}

TEST_F(DefaultModelTest, BindsWeightsInTheirFormats) {
  const ModelWeights& weights = file_->weights();
  ASSERT_EQ(weights.layers.size(), 30u);
  EXPECT_EQ(weights.embedding.dtype, DType::kQ8_0);
  EXPECT_EQ(weights.output.data, weights.embedding.data);
  EXPECT_EQ(weights.layers[0].q.dtype, DType::kQ4_1);
  EXPECT_EQ(weights.layers[29].down.columns, 1536);
  EXPECT_TRUE(weights.layers[0].q_bias.empty());
}

TEST_F(DefaultModelTest, HasTheTokenizerOfSmolLm2) {
  const TokenizerSpec& spec = file_->tokenizer();
  ASSERT_EQ(spec.tokens.size(), 49152u);
  EXPECT_EQ(spec.merges.size(), 48900u);
  EXPECT_EQ(spec.merges[0], "Ġ t");
  EXPECT_EQ(spec.pre, PreTokenizer::kSmolLm);
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.eos, 2);
  EXPECT_FALSE(spec.add_bos);
  EXPECT_EQ(spec.tokens[2], "<|im_end|>");
  EXPECT_EQ(spec.kinds[2], TokenKind::kControl);
  EXPECT_EQ(spec.kinds[17], TokenKind::kNormal);
  EXPECT_THAT(spec.end_of_generation, testing::ElementsAre(0, 2));
  EXPECT_THAT(file_->chat_template(), testing::HasSubstr("SmolLM"));
}

}  // namespace
}  // namespace braid
