#include "model/parscale_adapter.h"

#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "model/huggingface_model.h"
#include "model/parscale_summary.h"
#include "model/sha256.h"
#include "tests/parscale/generated_model.h"

namespace braid {
namespace {

using parscale::Case;
using testing::HasSubstr;

const Case kCase = {.name = "adapter_test",
                    .nested = true,
                    .architecture = "llama",
                    .streams = 3,
                    .prefix_tokens = 5,
                    .smoothing = 0.1,
                    .dtype = DType::kBF16,
                    .hidden = 8,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 4,
                    .ffn = 8,
                    .layers = 2,
                    .vocabulary = 11,
                    .tied = true};
const std::string kSum(64, '0');

absl::StatusOr<ParscaleAdapter> Parse(const SafetensorsBuilder& builder) {
  const std::string file = builder.Build();
  // Of exactly its size, so that a sanitizer sees reads beyond.
  const std::vector<char> exact(file.begin(), file.end());
  return ParseParscaleAdapter(std::as_bytes(std::span(exact)), "test");
}

std::vector<float> Values(const Tensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.columns));
  for (int64_t r = 0; r < tensor.rows; ++r) {
    DequantizeRow(tensor.dtype, tensor.row(r), tensor.columns,
                  values.data() + r * tensor.columns);
  }
  return values;
}

// The element of a file's tensor at some indices.
float At(const SafetensorsBuilder& file, const std::string& name,
         const std::vector<int64_t>& indices) {
  const SafetensorsBuilder::Entry& entry = file.tensors.at(name);
  int64_t at = 0;
  for (size_t i = 0; i < indices.size(); ++i) {
    at = at * entry.shape[i] + indices[i];
  }
  uint16_t bits = 0;
  std::memcpy(&bits, entry.bytes.data() + 2 * at, 2);
  return BFloat16ToFloat(bits);
}

TEST(ParscaleAdapterTest, ReadsEveryField) {
  SafetensorsBuilder file = MakeAdapter(kCase, kSum);
  file.metadata["gain"] = "0,0.25,0.5";
  file.metadata["recipe"] = "none";
  const auto adapter = Parse(file);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->base_sha256, kSum);
  EXPECT_EQ(adapter->base_name, "adapter_test");
  EXPECT_EQ(adapter->hidden, 8);
  EXPECT_EQ(adapter->layers, 2);
  EXPECT_EQ(adapter->kv_heads, 2);
  EXPECT_EQ(adapter->head_dim, 4);
  EXPECT_EQ(adapter->notes.size(), 1u);
  EXPECT_EQ(adapter->notes.at("recipe"), "none");
  const ParscaleSet& set = adapter->set;
  EXPECT_EQ(set.kind, ParscaleKind::kNested);
  EXPECT_EQ(set.name, "test");
  EXPECT_EQ(set.streams, 3);
  EXPECT_EQ(set.PrefixOf(0), 0);
  EXPECT_EQ(set.PrefixOf(1), 5);
  EXPECT_EQ(set.smoothing, 0.1f);
  EXPECT_THAT(set.gain, testing::ElementsAre(0, 0.25, 0.5));
}

TEST(ParscaleAdapterTest, PutsEveryElementInItsPlace) {
  const SafetensorsBuilder file = MakeAdapter(kCase, kSum);
  const auto adapter = Parse(file);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const ParscaleSet& set = adapter->set;
  ASSERT_EQ(set.prefix_k.size(), 3u);
  EXPECT_TRUE(set.prefix_k[0].empty());
  EXPECT_TRUE(set.prefix_v[0].empty());
  for (int64_t s = 1; s < 3; ++s) {
    for (int64_t l = 0; l < 2; ++l) {
      const Tensor& keys = set.prefix_k.at(s).at(l);
      ASSERT_EQ(keys.rows, 2 * 5);
      ASSERT_EQ(keys.columns, 4);
      const auto k = Values(keys), v = Values(set.prefix_v.at(s).at(l));
      for (int64_t i = 0; i < 40; ++i) {
        const std::vector<int64_t> at = {l, s - 1, i / 20, i / 4 % 5, i % 4};
        EXPECT_EQ(k[i], At(file, "prefix_k", at));
        EXPECT_EQ(v[i], At(file, "prefix_v", at));
      }
    }
  }
  ASSERT_EQ(set.w1.size(), 3u);
  for (int64_t s = 0; s < 3; ++s) {
    ASSERT_EQ(set.w1[s].rows, 8);
    ASSERT_EQ(set.w1[s].columns, 8);
    const auto block = Values(set.w1[s]);
    for (int64_t i = 0; i < 64; ++i) {
      EXPECT_EQ(block[i], At(file, "aggregator.w1", {i / 8, i % 8 * 3 + s}));
    }
    EXPECT_EQ(set.b2[s], At(file, "aggregator.b2", {s}));
    EXPECT_EQ(Values(set.w2)[s * 8 + 3], At(file, "aggregator.w2", {s, 3}));
  }
  ASSERT_EQ(set.b1.size(), 8u);
  EXPECT_EQ(set.b1[7], At(file, "aggregator.b1", {7}));
}

TEST(ParscaleAdapterTest, BothKeyLayoutsGiveTheSameSet) {
  const auto halves = Parse(MakeAdapter(kCase, kSum));
  const auto adjacent = Parse(MakeAdapter(kCase, kSum, RopePairing::kAdjacent));
  ASSERT_TRUE(halves.ok()) << halves.status();
  ASSERT_TRUE(adjacent.ok()) << adjacent.status();
  EXPECT_EQ(adjacent->key_layout, RopePairing::kAdjacent);
  EXPECT_EQ(Values(adjacent->set.prefix_k[2][1]),
            Values(halves->set.prefix_k[2][1]));
  EXPECT_EQ(adjacent->set.fingerprint, halves->set.fingerprint);
  // And a wrong name of the layout is another set.
  SafetensorsBuilder wrong = MakeAdapter(kCase, kSum);
  wrong.metadata["key_layout"] = "adjacent";
  EXPECT_NE(Parse(wrong)->set.fingerprint, halves->set.fingerprint);
  EXPECT_EQ(Values(Parse(wrong)->set.prefix_v[2][1]),
            Values(halves->set.prefix_v[2][1]));
}

TEST(ParscaleAdapterTest, ReadsEveryFloatFormat) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    Case c = kCase;
    c.dtype = dtype;
    const auto adapter = Parse(MakeAdapter(c, kSum));
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    EXPECT_EQ(adapter->set.w1[2].dtype, dtype);
    EXPECT_NEAR(Values(adapter->set.w1[2])[0],
                Values(Parse(MakeAdapter(kCase, kSum))->set.w1[2])[0], 0.02);
  }
}

TEST(ParscaleAdapterTest, TheFingerprintIsOfWhatStreamsCompute) {
  SafetensorsBuilder file = MakeAdapter(kCase, kSum);
  const uint64_t fingerprint = Parse(file)->set.fingerprint;
  file.metadata["gain"] = "0,1,2";
  file.metadata["base_name"] = "another";
  EXPECT_EQ(Parse(file)->set.fingerprint, fingerprint);
  file.metadata["smoothing"] = "0.01";
  EXPECT_NE(Parse(file)->set.fingerprint, fingerprint);
  for (const auto& [name, entry] : MakeAdapter(kCase, kSum).tensors) {
    SafetensorsBuilder changed = MakeAdapter(kCase, kSum);
    changed.tensors[name].bytes[0] ^= 1;
    EXPECT_NE(Parse(changed)->set.fingerprint, fingerprint) << name;
  }
}

TEST(ParscaleAdapterTest, RefusesWrongFieldsByName) {
  const struct {
    const char* key;
    const char* text;  // null: missing
    const char* message;
  } cases[] = {
      {"format", nullptr, "lacks \"format\""},
      {"format", "pt", "\"format\" is \"pt\", not \"braid-parscale\""},
      {"version", "2", "\"version\" is \"2\", not \"1\""},
      {"kind", "published", "\"kind\" is \"published\", not \"nested\""},
      {"base_sha256", "abc", "\"base_sha256\""},
      {"base_name", nullptr, "lacks \"base_name\""},
      {"streams", "1", "\"streams\" is 1, not 2 to 8"},
      {"streams", "9", "\"streams\" is 9, not 2 to 8"},
      {"streams", "2.5", "\"streams\" is \"2.5\", not an integer"},
      {"streams", "2", "tensor prefix_k is [2, 2, 2, 5, 4]"},
      {"prefix_tokens", "0", "\"prefix_tokens\" is 0, not 1 to 256"},
      {"prefix_tokens", "257", "\"prefix_tokens\" is 257"},
      {"prefix_tokens", "4", "need [2, 2, 2, 4, 4]"},
      {"smoothing", nullptr, "lacks \"smoothing\""},
      {"smoothing", "nan", "\"smoothing\" holds \"nan\""},
      {"smoothing", "1.5", "\"smoothing\" is 1.5, not 0 to 1"},
      {"key_layout", nullptr, "lacks \"key_layout\""},
      {"key_layout", "neox", "\"key_layout\" is \"neox\""},
      {"hidden", "16", "tensor aggregator.w1"},
      {"hidden", "99999999999", "\"hidden\""},
      {"layers", "-1", "\"layers\" is -1"},
      {"kv_heads", "1", "tensor prefix_k"},
      {"head_dim", "3", "\"head_dim\" is 3, which RoPE cannot pair"},
      {"gain", "0,1", "\"gain\" is \"0,1\", not 3 numbers"},
      {"gain", "1,2,3", "of which the first is 0"},
      {"gain", "0,x,1", "\"gain\" holds \"x\""},
  };
  for (const auto& [key, text, message] : cases) {
    SafetensorsBuilder file = MakeAdapter(kCase, kSum);
    file.metadata.erase(key);
    if (text != nullptr) file.metadata[key] = text;
    const absl::Status status = Parse(file).status();
    EXPECT_FALSE(status.ok()) << key;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  SafetensorsBuilder file = MakeAdapter(kCase, kSum);
  file.metadata["version"] = "2";
  EXPECT_EQ(Parse(file).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(ParscaleAdapterTest, RefusesWrongTensorsByName) {
  for (const auto& [name, entry] : MakeAdapter(kCase, kSum).tensors) {
    SafetensorsBuilder missing = MakeAdapter(kCase, kSum);
    missing.tensors.erase(name);
    EXPECT_THAT(std::string(Parse(missing).status().message()),
                HasSubstr("there is no tensor " + name + ";"));
    // As many elements, other extents.
    SafetensorsBuilder folded = MakeAdapter(kCase, kSum);
    folded.tensors[name].shape.insert(folded.tensors[name].shape.begin(), 1);
    EXPECT_THAT(std::string(Parse(folded).status().message()),
                HasSubstr("tensor " + name + " is [1, "));
    for (const uint16_t bits : {0x7F80, 0xFF80, 0x7FC0}) {  // inf, -inf, NaN
      SafetensorsBuilder infinite = MakeAdapter(kCase, kSum);
      std::string& bytes = infinite.tensors[name].bytes;
      std::memcpy(bytes.data() + bytes.size() - 2, &bits, 2);
      EXPECT_THAT(std::string(Parse(infinite).status().message()),
                  HasSubstr("tensor " + name + " holds "));
    }
  }
  SafetensorsBuilder more = MakeAdapter(kCase, kSum);
  more.Add("aggregator.w3", {1}, {1});
  EXPECT_THAT(std::string(Parse(more).status().message()),
              HasSubstr("tensor aggregator.w3 has no place"));
  // Two prefixes swapped in shape are as long, and still another tensor.
  SafetensorsBuilder swapped = MakeAdapter(kCase, kSum);
  std::swap(swapped.tensors["prefix_k"].shape[2],
            swapped.tensors["prefix_k"].shape[3]);
  EXPECT_FALSE(Parse(swapped).ok());
}

TEST(ParscaleAdapterTest, DamagedFilesAreNotBelieved) {
  const std::string file = MakeAdapter(kCase, kSum).Build();
  const auto parse = [](const std::string& bytes) {
    const std::vector<char> exact(bytes.begin(), bytes.end());
    return ParseParscaleAdapter(std::as_bytes(std::span(exact)), "test").ok();
  };
  ASSERT_TRUE(parse(file));
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof(header));
  for (size_t size = 0; size < file.size(); size += 7) {
    ASSERT_FALSE(parse(file.substr(0, size))) << size;
  }
  Rng rng(2);
  for (size_t at = 0; at < header + 8; ++at) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 + rng.Below(255)));
    (void)parse(damaged);
  }
}

// An adapter beside its base, in files.
class LoadAdapterTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "load_adapter_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    WriteModel(kCase, folder_);
    const auto parts = ReadHuggingFaceWeights(folder_);
    ASSERT_TRUE(parts.ok()) << parts.status();
    config_ = parts->config;
    const std::vector<std::string> weights = {folder_ + "/model.safetensors"};
    sum_ = *Sha256OfFiles(weights);
    path_ = folder_ + "/adapter.safetensors";
  }
  absl::StatusOr<ParscaleSet> Load(const SafetensorsBuilder& file) {
    file.Write(path_);
    return LoadParscaleAdapter(path_, folder_, config_);
  }

  std::string folder_, path_, sum_;
  ModelConfig config_;
};

TEST_F(LoadAdapterTest, TakesItsBaseAsAFolderAndAsAFile) {
  const auto set = Load(MakeAdapter(kCase, sum_));
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->name, "adapter.safetensors");
  EXPECT_TRUE(
      LoadParscaleAdapter(path_, folder_ + "/model.safetensors", config_).ok());
}

TEST_F(LoadAdapterTest, NamesBothSumsOfAnotherBase) {
  const auto set = Load(MakeAdapter(kCase, kSum));
  EXPECT_EQ(set.status().code(), absl::StatusCode::kInvalidArgument);
  for (const std::string& part :
       {kSum, sum_, path_, folder_, std::string("adapter_test")}) {
    EXPECT_THAT(std::string(set.status().message()), HasSubstr(part));
  }
}

TEST_F(LoadAdapterTest, ComparesItsShapeWithTheModels) {
  for (const auto& [name, field] :
       std::initializer_list<std::pair<const char*, int32_t ModelConfig::*>>{
           {"hidden", &ModelConfig::hidden},
           {"layers", &ModelConfig::layers},
           {"kv_heads", &ModelConfig::kv_heads},
           {"head_dim", &ModelConfig::head_dim}}) {
    const int32_t before = config_.*field;
    config_.*field *= 2;
    const absl::Status status = Load(MakeAdapter(kCase, sum_)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("\"", name, "\" is ", before,
                                       ", the model's is ", 2 * before)));
    config_.*field = before;
  }
}

TEST_F(LoadAdapterTest, SaysWhichFileIsMissing) {
  const auto set =
      LoadParscaleAdapter("/nowhere/a.safetensors", folder_, config_);
  EXPECT_EQ(set.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(set.status().message()),
              HasSubstr("/nowhere/a.safetensors"));
}

TEST(ParscaleSummaryTest, CountsAndMeasures) {
  SafetensorsBuilder file = MakeAdapter(kCase, kSum);
  file.Add("aggregator.b1", {8}, {3, -4, 0, 0, 0, 0, 0, 0});
  const auto adapter = Parse(file);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const ParscaleParameters counts = CountParameters(adapter->set);
  EXPECT_EQ(counts.prefixes, 2 * 2 * 2 * 2 * 5 * 4);
  EXPECT_EQ(counts.aggregator, 8 * 24 + 8 + 3 * 8 + 3);
  const std::vector<TensorSummary> tensors = Summarize(adapter->set);
  ASSERT_EQ(tensors.size(), 2u * 2 + 3 + 3);
  EXPECT_EQ(tensors[0].name, "prefix_k stream 1");
  EXPECT_THAT(tensors[0].shape, testing::ElementsAre(2, 2, 5, 4));
  const TensorSummary& b1 = tensors[7];
  EXPECT_EQ(b1.name, "b1");
  EXPECT_EQ(b1.min, -4);
  EXPECT_EQ(b1.max, 3);
  EXPECT_DOUBLE_EQ(b1.rms, std::sqrt(25.0 / 8));
}

}  // namespace
}  // namespace braid
