// The Hugging Face tokenizers library said what these texts encode to, under
// every pipeline (golden/make_tokenizer_golden.py).
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "model/tokenizer.h"
#include "tests/model/spec_file.h"

namespace braid {
namespace {

const std::string kGolden = BRAID_SOURCE_DIR "/tests/model/golden/";

std::unique_ptr<Tokenizer> MakePipeline(const std::string& name) {
  static const std::map<std::string, PreTokenizer> kPre = {
      {"gpt2", PreTokenizer::kGpt2},
      {"smollm", PreTokenizer::kSmolLm},
      {"llama-bpe", PreTokenizer::kLlamaBpe},
      {"qwen2", PreTokenizer::kQwen2}};
  TokenizerSpec spec = ReadSpecFile(kGolden + "tokenizer.spec");
  const std::vector<std::string> parts = absl::StrSplit(name, '+');
  spec.pre = kPre.at(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    spec.ignore_merges |= parts[i] == "ignore_merges";
    spec.normalize_nfc |= parts[i] == "normalize_nfc";
  }
  auto tokenizer = Tokenizer::Create(std::move(spec));
  BRAID_CHECK_MSG(tokenizer.ok(), tokenizer.status().ToString());
  return *std::move(tokenizer);
}

class TokenizerGolden : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(file_.good()); }

  // The ids in what is left of a line.
  static std::vector<TokenId> ReadIds(std::istream& words) {
    std::vector<TokenId> ids;
    for (TokenId id; words >> id;) ids.push_back(id);
    return ids;
  }

  std::ifstream file_{kGolden + "tokenizer_cases.txt"};
};

TEST_F(TokenizerGolden, Encodes) {
  std::map<std::string, std::unique_ptr<Tokenizer>> pipelines;
  std::string line, key, mode, hex, names;
  int compared = 0;
  while (std::getline(file_, line)) {
    std::istringstream words(line);
    words >> key;
    if (key == "text") {
      words >> mode >> hex;
    } else if (key == "ids") {
      words >> names;
      const std::vector<TokenId> expected = ReadIds(words);
      const std::vector<std::string> agreeing = absl::StrSplit(names, ',');
      for (const std::string& name : agreeing) {
        auto& tokenizer = pipelines[name];
        if (!tokenizer) tokenizer = MakePipeline(name);
        EXPECT_EQ(tokenizer->Encode(FromHex(hex), mode == "s"), expected)
            << name << " " << mode << " " << FromHex(hex);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 1500);
  EXPECT_EQ(pipelines.size(), 6u);
}

TEST_F(TokenizerGolden, Decodes) {
  const auto tokenizer = MakePipeline("gpt2");
  std::string line, key, hex;
  int compared = 0;
  while (std::getline(file_, line)) {
    std::istringstream words(line);
    words >> key;
    if (key != "decode") continue;
    words >> hex;
    Detokenizer detokenizer(tokenizer.get());
    std::string text;
    for (const TokenId id : ReadIds(words)) detokenizer.Push(id, text);
    detokenizer.Flush(text);
    EXPECT_EQ(ToHex(text), hex == "-" ? "" : hex) << line;
    ++compared;
  }
  EXPECT_GE(compared, 60);
}

}  // namespace
}  // namespace braid
