// Qwen2ParScale folders: models with streams, and further sets for a backbone.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "model/huggingface_model.h"
#include "model/model_file.h"
#include "model/parscale.h"
#include "tests/parscale/generated_model.h"

namespace braid {
namespace {

namespace fs = std::filesystem;
using parscale::Case;
using testing::HasSubstr;

const Case kCase = {.name = "published_test",
                    .architecture = "qwen2",
                    .streams = 4,
                    .prefix_tokens = 3,
                    .smoothing = 0.1,
                    .hidden = 8,
                    .heads = 2,
                    .kv_heads = 1,
                    .head_dim = 4,
                    .ffn = 8,
                    .layers = 2,
                    .vocabulary = 11,
                    .tied = true};

std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class PublishedTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "published_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    WriteModel(kCase, folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Replace(const std::string& file, const std::string& from,
               const std::string& to) {
    const std::string text = ReadText(folder_ + "/" + file);
    ASSERT_NE(text.find(from), std::string::npos) << from;
    std::ofstream(folder_ + "/" + file, std::ios::binary)
        << absl::StrReplaceAll(text, {{from, to}});
  }
  absl::Status StatusOfRead() {
    return ReadHuggingFaceWeights(folder_).status();
  }

  std::string folder_;
};

float At(const Tensor& tensor, int64_t row, int64_t column) {
  std::vector<float> values(static_cast<size_t>(tensor.columns));
  DequantizeRow(tensor.dtype, tensor.row(row), tensor.columns, values.data());
  return values[static_cast<size_t>(column)];
}

TEST_F(PublishedTest, IsAQwen2WithAPrefixInEveryStreamAndLayer) {
  const auto parts = ReadHuggingFaceWeights(folder_ + "/");
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->config.architecture, Architecture::kQwen2);
  ASSERT_TRUE(parts->parscale.has_value());
  const ParscaleSet& set = *parts->parscale;
  EXPECT_EQ(set.kind, ParscaleKind::kPublished);
  EXPECT_EQ("/" + set.name, folder_.substr(folder_.rfind('/')));
  EXPECT_EQ(set.streams, 4);
  EXPECT_EQ(set.smoothing, 0.1f);
  EXPECT_EQ(set.PrefixOf(0), 3);
  EXPECT_EQ(set.PrefixOf(3), 3);
  EXPECT_TRUE(set.gain.empty());
  ASSERT_EQ(set.prefix_k.size(), 4u);
  for (int64_t s = 0; s < 4; ++s) {
    ASSERT_EQ(set.prefix_k[s].size(), 2u);
    ASSERT_EQ(set.prefix_v[s].size(), 2u);
    // [streams, kv_heads, tokens, head_dim], with one head.
    const auto v = parscale::GeneratedValues(
        "published_test", "model.layers.1.self_attn.prefix_v", 4 * 3 * 4, 0,
        2.5);
    EXPECT_EQ(At(set.prefix_v[s][1], 2, 3), v[(s * 3 + 2) * 4 + 3]);
    EXPECT_EQ(set.w1[s].rows, 8);
    EXPECT_EQ(set.w1[s].columns, 8);
  }
  EXPECT_EQ(set.b2.size(), 4u);
}

TEST_F(PublishedTest, FieldsAreReadAndNeverDefaults) {
  for (const char* key :
       {"parscale_n", "parscale_n_tokens", "parscale_attn_smooth"}) {
    WriteModel(kCase, folder_);
    Replace("config.json", std::string("\"") + key + "\"", "\"other\"");
    const absl::Status status = StatusOfRead();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(key));
  }
}

TEST_F(PublishedTest, RefusesFieldsOutOfRange) {
  const std::pair<const char*, const char*> changes[] = {
      {"\"parscale_n\":4", "\"parscale_n\":0"},
      {"\"parscale_n\":4", "\"parscale_n\":9"},
      {"\"parscale_n_tokens\":3", "\"parscale_n_tokens\":0"},
      {"\"parscale_n_tokens\":3", "\"parscale_n_tokens\":257"},
      {"\"parscale_attn_smooth\":0.1", "\"parscale_attn_smooth\":-0.1"},
  };
  for (const auto& [from, to] : changes) {
    WriteModel(kCase, folder_);
    Replace("config.json", from, to);
    EXPECT_EQ(StatusOfRead().code(), absl::StatusCode::kInvalidArgument) << to;
  }
}

TEST_F(PublishedTest, RefusesTensorsThatDoNotFitTheFields) {
  const struct {
    const char *from, *to, *message;
  } changes[] = {
      {"\"parscale_n\":4", "\"parscale_n\":2", "prefix_k is [4, 1, 3, 4]"},
      {"\"parscale_n_tokens\":3", "\"parscale_n_tokens\":4",
       "need [4, 1, 4, 4]"},
      // Plain Qwen2 has no place for streams.
      {"\"parscale_n\":4", "\"parscale_n\":1", "aggregate_layer.0.bias"},
      {"Qwen2ParScaleForCausalLM", "Qwen2ForCausalLM",
       "aggregate_layer.0.bias"},
  };
  for (const auto& [from, to, message] : changes) {
    WriteModel(kCase, folder_);
    Replace("config.json", from, to);
    EXPECT_THAT(std::string(StatusOfRead().message()), HasSubstr(message));
  }
  for (const char* name :
       {"model.layers.1.self_attn.prefix_k", "model.aggregate_layer.2.bias"}) {
    WriteModel(kCase, folder_);
    std::string renamed = name;
    renamed.back() = 'X';
    Replace("model.safetensors", name, renamed);
    EXPECT_THAT(std::string(StatusOfRead().message()),
                HasSubstr(std::string("there is no tensor ") + name));
  }
}

TEST_F(PublishedTest, OneStreamIsPlainQwen2) {
  Case one = kCase;
  one.streams = 1;
  WriteModel(one, folder_);
  const auto parts = ReadHuggingFaceWeights(folder_);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_FALSE(parts->parscale.has_value());
  EXPECT_EQ(parts->weights.layers.size(), 2u);
}

// A backbone with further sets of streams: same weights, other P.
class SetTest : public PublishedTest {
 protected:
  // A model of this number of streams; its backbone is that of kCase.
  std::string Write(int32_t streams) {
    Case c = kCase;
    c.streams = streams;
    const std::string folder = folder_ + "/p" + std::to_string(streams);
    WriteModel(c, folder);
    return folder;
  }
  std::unique_ptr<ModelFile> Open(const std::string& folder) {
    auto parts = ReadHuggingFaceWeights(folder);
    BRAID_CHECK_MSG(parts.ok(), parts.status().ToString());
    return std::make_unique<ModelFile>(*std::move(parts));
  }
};

TEST_F(SetTest, ServesOneBackboneWithSeveralSets) {
  const auto base = Open(Write(1));
  const auto two = LoadParscaleSet(Write(2), *base);
  const auto eight = LoadParscaleSet(Write(8), *base);
  ASSERT_TRUE(two.ok()) << two.status();
  ASSERT_TRUE(eight.ok()) << eight.status();
  EXPECT_EQ(two->streams, 2);
  EXPECT_EQ(two->name, "p2");
  EXPECT_EQ(eight->streams, 8);
  EXPECT_NE(two->fingerprint, eight->fingerprint);
  // The base may have streams itself.
  EXPECT_TRUE(LoadParscaleSet(folder_ + "/p2", *Open(folder_)).ok());
}

TEST_F(SetTest, RefusesAPlainModel) {
  const auto set = LoadParscaleSet(Write(1), *Open(folder_));
  EXPECT_EQ(set.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(set.status().message()),
              HasSubstr("without streams"));
}

TEST_F(SetTest, NamesWhatDiffersFromTheBase) {
  const auto base = Open(Write(1));
  const std::string folder = Write(2);
  const auto message = [&] {
    return std::string(LoadParscaleSet(folder, *base).status().message());
  };
  const std::string weights = ReadText(folder + "/model.safetensors");
  const std::string config = ReadText(folder + "/config.json");
  std::ofstream(folder + "/config.json")
      << absl::StrReplaceAll(config, {{"10000", "1000000"}});
  EXPECT_THAT(message(), HasSubstr("rope_theta differs"));
  std::ofstream(folder + "/config.json") << config;
  ASSERT_EQ(message(), "");

  const auto q = parscale::GeneratedValues(
      "published_test", "model.layers.1.mlp.up_proj.weight", 1, 0,
      1.5 * std::sqrt(3.0) / std::sqrt(8.0));
  const std::string bytes(reinterpret_cast<const char*>(q.data()), 4);
  std::string changed = weights;
  const size_t at = changed.find(bytes);
  ASSERT_NE(at, std::string::npos);
  changed[at] ^= 1;
  std::ofstream(folder + "/model.safetensors", std::ios::binary) << changed;
  EXPECT_THAT(message(), HasSubstr("tensor up of layer 1 differs"));
  EXPECT_THAT(message(), HasSubstr(folder));
}

}  // namespace
}  // namespace braid
