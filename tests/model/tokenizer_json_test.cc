#include "model/tokenizer_json.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "model/model_file.h"
#include "tests/cpu/golden/tiny_golden.h"

namespace braid {
namespace {

using testing::HasSubstr;

constexpr char kByteLevel[] =
    R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
constexpr char kMapOnly[] =
    R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";

// The pieces of a small tokenizer.json.
struct Pieces {
  std::string normalizer = "null";
  std::string pre = kByteLevel;
  std::string post = "null";
  std::string added = R"([{"id":4,"content":"<|eot_id|>","special":true},)"
                      R"({"id":3,"content":"<think>","special":false}])";
  std::string model =
      R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})";
};

absl::StatusOr<TokenizerSpec> Read(const Pieces& pieces) {
  const auto json =
      ParseJson(R"({"added_tokens":)" + pieces.added + R"(,"normalizer":)" +
                pieces.normalizer + R"(,"pre_tokenizer":)" + pieces.pre +
                R"(,"post_processor":)" + pieces.post + R"(,"model":)" +
                pieces.model + "}");
  EXPECT_TRUE(json.ok()) << json.status();
  return ReadTokenizerJson(*json, 6);
}

std::string Sequence(const std::string& first, const std::string& second) {
  return R"({"type":"Sequence","pretokenizers":[)" + first + "," + second +
         "]}";
}
std::string Split(const std::string& pattern) {
  return R"({"type":"Split","pattern":{"Regex":")" +
         absl::StrReplaceAll(pattern, {{"\\", "\\\\"}}) +
         R"("},"behavior":"Isolated","invert":false})";
}
std::string Expression(const std::string& numbers) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + numbers +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

TEST(TokenizerJsonTest, ReadsVocabularyAddedTokensAndMerges) {
  Pieces pieces;
  for (const char* merges : {R"(["a b"])", R"([["a","b"]])"}) {
    pieces.model = std::string(R"({"type":"BPE","ignore_merges":true,)") +
                   R"("vocab":{"a":0,"b":1,"ab":2},"merges":)" + merges + "}";
    const auto spec = Read(pieces);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_THAT(spec->tokens, testing::ElementsAre("a", "b", "ab", "<think>",
                                                   "<|eot_id|>", "[PAD5]"));
    EXPECT_THAT(spec->kinds,
                testing::ElementsAre(TokenKind::kNormal, TokenKind::kNormal,
                                     TokenKind::kNormal, TokenKind::kUser,
                                     TokenKind::kControl, TokenKind::kUnused));
    EXPECT_THAT(spec->merges, testing::ElementsAre("a b"));
    EXPECT_TRUE(spec->ignore_merges);
    EXPECT_FALSE(spec->normalize_nfc);
    EXPECT_FALSE(spec->add_bos);
  }
}

TEST(TokenizerJsonTest, RecognisesPreTokenizersByStructure) {
  const std::pair<std::string, PreTokenizer> cases[] = {
      {kByteLevel, PreTokenizer::kGpt2},
      {Sequence(R"({"type":"Digits","individual_digits":true})", kByteLevel),
       PreTokenizer::kSmolLm},
      {Sequence(Split(Expression(R"(\p{N}{1,3})")), kMapOnly),
       PreTokenizer::kLlamaBpe},
      {Sequence(Split(Expression(R"(\p{N})")), kMapOnly), PreTokenizer::kQwen2},
  };
  for (const auto& [pre, expected] : cases) {
    Pieces pieces;
    pieces.pre = pre;
    const auto spec = Read(pieces);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->pre, expected) << pre;
  }
}

TEST(TokenizerJsonTest, ReadsNormalizerAndBosTemplate) {
  Pieces pieces;
  pieces.normalizer = R"({"type":"NFC"})";
  pieces.post = R"({"type":"Sequence","processors":[{"type":"ByteLevel"},)"
                R"({"type":"TemplateProcessing","single":[{"SpecialToken":)"
                R"({"id":"<|eot_id|>"}},{"Sequence":{"id":"A"}}]}]})";
  const auto spec = Read(pieces);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->normalize_nfc);
  EXPECT_TRUE(spec->add_bos);
  EXPECT_EQ(spec->bos, 4);
}

TEST(TokenizerJsonTest, RefusesByNameWhatIsNotSupported) {
  const auto with = [](std::string Pieces::*piece, const char* text) {
    Pieces pieces;
    pieces.*piece = text;
    return pieces;
  };
  const std::pair<const char*, Pieces> cases[] = {
      {"normalizer \"Lowercase\"",
       with(&Pieces::normalizer, R"({"type":"Lowercase"})")},
      {"pre_tokenizer [Metaspace]",
       with(&Pieces::pre, R"({"type":"Metaspace"})")},
      {"pre_tokenizer [Digits, ByteLevel]",
       with(&Pieces::pre,
            R"({"type":"Sequence","pretokenizers":[{"type":"Digits",)"
            R"("individual_digits":false},{"type":"ByteLevel",)"
            R"("add_prefix_space":false}]})")},
      {"pre_tokenizer expression \\w+",
       with(&Pieces::pre, Sequence(Split(R"(\w+)"), kMapOnly).c_str())},
      {"add_prefix_space", with(&Pieces::pre, R"({"type":"ByteLevel"})")},
      {"no pre_tokenizer", with(&Pieces::pre, "null")},
      {"post_processor \"BertProcessing\"",
       with(&Pieces::post, R"({"type":"BertProcessing"})")},
      {"post_processor that adds <|eot_id|>",
       with(&Pieces::post,
            R"({"type":"TemplateProcessing","single":[{"Sequence":{}},)"
            R"({"SpecialToken":{"id":"<|eot_id|>"}}]})")},
      {"model type \"Unigram\"",
       with(&Pieces::model, R"({"type":"Unigram","vocab":[]})")},
      {"byte_fallback",
       with(&Pieces::model, R"({"type":"BPE","byte_fallback":true})")},
      {"end_of_word_suffix",
       with(&Pieces::model, R"({"type":"BPE","end_of_word_suffix":"</w>"})")},
      {"with lstrip",
       with(&Pieces::added, R"([{"id":4,"content":"x","lstrip":true}])")},
  };
  for (const auto& [message, pieces] : cases) {
    const absl::Status status = Read(pieces).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(TokenizerJsonTest, RefusesWhatMakesNoSense) {
  const std::pair<const char*, std::string> models[] = {
      {"\"model\"", "null"},
      {"\"vocab\"", R"({"type":"BPE","vocab":[],"merges":[]})"},
      {"token \"b\"", R"({"type":"BPE","vocab":{"a":0,"b":0},"merges":[]})"},
      {"token \"a\"", R"({"type":"BPE","vocab":{"a":6},"merges":[]})"},
      {"token \"a\"", R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"},
      {"\"merges\"", R"({"type":"BPE","vocab":{"a":0}})"},
      {"merge 0", R"({"type":"BPE","vocab":{"a":0},"merges":[["a"]]})"},
      {"is both", R"({"type":"BPE","vocab":{"a":4},"merges":[]})"},
  };
  for (const auto& [message, model] : models) {
    Pieces pieces;
    pieces.model = model;
    const absl::Status status = Read(pieces).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(TokenizerJsonTest, ConfigNamesTheSpecialTokens) {
  auto spec = Read({});
  ASSERT_TRUE(spec.ok());
  ASSERT_TRUE(ApplyTokenizerConfig(
                  *ParseJson(R"({"bos_token":"<think>","eos_token":)"
                             R"({"content":"<|eot_id|>"},"unk_token":null,)"
                             R"("add_bos_token":true})"),
                  *spec)
                  .ok());
  EXPECT_EQ(spec->bos, 3);
  EXPECT_EQ(spec->eos, 4);
  EXPECT_TRUE(spec->add_bos);
  EXPECT_FALSE(spec->unknown.has_value());
  EXPECT_FALSE(
      ApplyTokenizerConfig(*ParseJson(R"({"eos_token":"</s>"})"), *spec).ok());
}

TEST(TokenizerJsonTest, ChatTemplateIsAStringOrTheDefaultOfSeveral) {
  EXPECT_EQ(*ReadChatTemplate(*ParseJson(R"({"chat_template":"x"})")), "x");
  EXPECT_EQ(*ReadChatTemplate(*ParseJson(
                R"({"chat_template":[{"name":"tool_use","template":"t"},)"
                R"({"name":"default","template":"d"}]})")),
            "d");
  EXPECT_EQ(*ReadChatTemplate(*ParseJson("{}")), "");
}

// GGUF and tokenizer.json of the same tokenizer give the same spec.
TEST(TokenizerJsonTest, BothFormatsAgree) {
  for (const auto& [gguf, directory] :
       {std::pair("llama-q4_0", "llama-f32-llama3"),
        std::pair("qwen2-f16", "qwen2-bf16-sharded")}) {
    const auto one = ModelFile::Open(golden::TinyModelPath(gguf));
    const auto other = ModelFile::Open(golden::TinyModelPath(directory));
    ASSERT_TRUE(one.ok()) << one.status();
    ASSERT_TRUE(other.ok()) << other.status();
    const TokenizerSpec& a = (*one)->tokenizer();
    const TokenizerSpec& b = (*other)->tokenizer();
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.kinds, b.kinds);
    EXPECT_EQ(a.merges, b.merges);
    EXPECT_EQ(a.pre, b.pre);
    EXPECT_EQ(a.normalize_nfc, b.normalize_nfc);
    EXPECT_EQ(a.eos, b.eos);
    EXPECT_EQ(a.end_of_generation, b.end_of_generation);
  }
}

}  // namespace
}  // namespace braid
