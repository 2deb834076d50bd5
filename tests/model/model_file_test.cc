#include "model/model_file.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cpu/golden/tiny_golden.h"

namespace braid {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// A copy of a tiny model's directory that a test may damage.
class DirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    copy_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(copy_);
    fs::copy(golden::TinyModelPath("qwen2-bf16-sharded"), copy_);
  }
  void TearDown() override { fs::remove_all(copy_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(copy_ / name) << text;
  }
  absl::Status Open() { return ModelFile::Open(copy_.string()).status(); }

  fs::path copy_;
};

TEST_F(DirectoryTest, OpensShardsAsOneModel) {
  const auto file = ModelFile::Open(copy_.string());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->config().architecture, Architecture::kQwen2);
  EXPECT_FALSE((*file)->weights().layers[1].k_bias.empty());
  EXPECT_THAT((*file)->tokenizer().end_of_generation,
              testing::ElementsAre(264, 266));
  EXPECT_EQ((*file)->chat_template(), "{{ messages[0]['content'] }}");
  Write("chat_template.jinja", "its own file");
  EXPECT_EQ((*ModelFile::Open(copy_.string()))->chat_template(),
            "its own file");
}

TEST_F(DirectoryTest, NamesTheFileThatIsMissing) {
  for (const char* name :
       {"model-00002-of-00003.safetensors", "config.json", "tokenizer.json"}) {
    fs::rename(copy_ / name, copy_ / "away");
    const absl::Status status = Open();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    fs::rename(copy_ / "away", copy_ / name);
  }
  EXPECT_TRUE(Open().ok());
}

TEST_F(DirectoryTest, AnIndexCannotLeadOutOfItsDirectory) {
  for (const char* file : {"../config.json", "/etc/passwd", "..", "",
                           "x/y.safetensors", "notes.txt"}) {
    Write("model.safetensors.index.json",
          std::string(R"({"weight_map":{"a":")") + file + R"("}})");
    const absl::Status status = Open();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(std::string(status.message()), HasSubstr("tensor a"));
  }
}

TEST_F(DirectoryTest, AnIndexMustTellTheTruth) {
  Write("model.safetensors.index.json",
        R"({"weight_map":{"a":"model-00001-of-00003.safetensors"}})");
  EXPECT_THAT(std::string(Open().message()),
              HasSubstr("tensor a is not in model-00001-of-00003"));
}

TEST(ModelFileTest, OneSafetensorsFileOpensAsItsDirectoryDoes) {
  const std::string path = golden::TinyModelPath("llama-f32-llama3");
  const auto directory = ModelFile::Open(path);
  const auto file = ModelFile::Open(path + "/model.safetensors");
  ASSERT_TRUE(directory.ok()) << directory.status();
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*directory)->fingerprint(), (*file)->fingerprint());
}

TEST(ModelFileTest, FingerprintsDiffer) {
  std::set<uint64_t> fingerprints;
  for (const std::string& name : golden::TinyModels()) {
    const auto file = ModelFile::Open(golden::TinyModelPath(name));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(fingerprints.insert((*file)->fingerprint()).second) << name;
  }
}

TEST(ModelFileTest, ReleasedPagesComeBack) {
  const auto file = ModelFile::Open(golden::TinyModelPath("llama-q4_0"));
  ASSERT_TRUE(file.ok()) << file.status();
  const Tensor& embedding = (*file)->weights().embedding;
  const std::vector<std::byte> before(embedding.data,
                                      embedding.data + embedding.bytes());
  (*file)->ReleasePages();
  EXPECT_TRUE(std::equal(before.begin(), before.end(), embedding.data));
}

TEST(ModelFileTest, SaysWhatCannotBeOpened) {
  const auto missing = ModelFile::Open("/nowhere/model.gguf").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("/nowhere/model.gguf"));
  const auto empty = ModelFile::Open("/dev/null").status();
  EXPECT_EQ(empty.code(), absl::StatusCode::kInvalidArgument);
  const auto other = ModelFile::Open(golden::TinyModelFolder() + "blocks.bin");
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("GGUF"));
}

}  // namespace
}  // namespace braid
