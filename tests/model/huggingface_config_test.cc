#include "model/huggingface_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid {
namespace {

using testing::HasSubstr;

// A config.json with `more` members at its end.
absl::StatusOr<ModelConfig> Read(
    const std::string& more,
    const std::string& architecture = "LlamaForCausalLM",
    bool has_output = false) {
  const auto json = ParseJson(
      R"({"architectures":[")" + architecture +
      R"("],"num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,)"
      R"("num_key_value_heads":2,"intermediate_size":96,"vocab_size":100,)"
      R"("max_position_embeddings":4096,"rms_norm_eps":1e-05)" +
      more + "}");
  EXPECT_TRUE(json.ok()) << json.status();
  return ReadHuggingFaceConfig(*json, has_output);
}

TEST(HuggingFaceConfigTest, ReadsTheKeysOfBothGenerations) {
  const auto old = Read(
      R"(,"rope_theta":500000.0,"tie_word_embeddings":true,"rope_scaling":)"
      R"({"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
      R"("original_max_position_embeddings":8192,"rope_type":"llama3"})");
  const auto recent = Read(
      R"(,"tie_word_embeddings":true,"rope_parameters":{"rope_theta":500000.0,)"
      R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
      R"("original_max_position_embeddings":8192,"rope_type":"llama3"})");
  for (const auto& config : {old, recent}) {
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope.base, 500000);
    EXPECT_EQ(config->rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(config->rope.factor, 8);
    EXPECT_EQ(config->rope.original_context, 8192);
    EXPECT_EQ(config->rope.pairing, RopePairing::kHalves);
    EXPECT_EQ(config->head_dim, 16);
    EXPECT_EQ(config->context, 4096);
    EXPECT_TRUE(config->tied_embeddings);
  }
}

TEST(HuggingFaceConfigTest, FillsInWhatFilesLeaveOut) {
  const auto plain = Read(R"(,"rope_scaling":null,"head_dim":null)");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->rope.base, 10000);
  EXPECT_EQ(plain->rope.scaling, RopeScaling::kNone);
  EXPECT_TRUE(plain->tied_embeddings);
  EXPECT_FALSE(Read("", "LlamaForCausalLM", true)->tied_embeddings);
  EXPECT_EQ(Read("", "Qwen3ForCausalLM")->head_dim, 128);
  const auto linear = Read(R"(,"rope_scaling":{"type":"linear","factor":2})");
  ASSERT_TRUE(linear.ok()) << linear.status();
  EXPECT_EQ(linear->rope.scaling, RopeScaling::kLinear);
  // A window that is not used, or that no text can exceed.
  EXPECT_TRUE(Read(R"(,"sliding_window":512,"use_sliding_window":false)",
                   "Qwen2ForCausalLM")
                  .ok());
  EXPECT_TRUE(Read(R"(,"sliding_window":null)", "MistralForCausalLM").ok());
  EXPECT_TRUE(Read(R"(,"sliding_window":4096)", "MistralForCausalLM").ok());
}

TEST(HuggingFaceConfigTest, RefusesByNameWhatIsNotSupported) {
  const std::tuple<const char*, std::string, std::string> cases[] = {
      {"Qwen2MoeForCausalLM", "", "Qwen2MoeForCausalLM"},
      {"activation gelu", R"(,"hidden_act":"gelu")", "LlamaForCausalLM"},
      {"quantization_config", R"(,"quantization_config":{"bits":4})",
       "LlamaForCausalLM"},
      {"over 1024 of 4096", R"(,"sliding_window":1024)", "MistralForCausalLM"},
      {"over 512 of 4096", R"(,"sliding_window":512,"use_sliding_window":true)",
       "Qwen2ForCausalLM"},
      {"RoPE scaling dynamic",
       R"(,"rope_scaling":{"type":"dynamic","factor":2})", "LlamaForCausalLM"},
      {"partial_rotary_factor", R"(,"partial_rotary_factor":0.5)",
       "LlamaForCausalLM"},
      {"mscale",
       R"(,"rope_scaling":{"rope_type":"yarn","factor":2,"mscale":1,)"
       R"("original_max_position_embeddings":64})",
       "LlamaForCausalLM"},
  };
  for (const auto& [message, more, architecture] : cases) {
    const absl::Status status = Read(more, architecture).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(HuggingFaceConfigTest, NamesTheKeyThatIsWrong) {
  for (const auto& [message, more] :
       {std::pair("\"head_dim\" is string", R"(,"head_dim":"16")"),
        std::pair("\"factor\" is missing",
                  R"(,"rope_scaling":{"rope_type":"linear"})"),
        std::pair("KV heads", R"(,"num_key_value_heads":3)")}) {
    const absl::Status status = Read(more).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(HuggingFaceConfigTest, EosIsOneOrMany) {
  EXPECT_THAT(*ReadEosIds(*ParseJson(R"({"eos_token_id":7})"), "f"),
              testing::ElementsAre(7));
  EXPECT_THAT(*ReadEosIds(*ParseJson(R"({"eos_token_id":[7,8]})"), "f"),
              testing::ElementsAre(7, 8));
  EXPECT_TRUE(ReadEosIds(*ParseJson("{}"), "f")->empty());
  EXPECT_FALSE(ReadEosIds(*ParseJson(R"({"eos_token_id":"x"})"), "f").ok());
}

}  // namespace
}  // namespace braid
