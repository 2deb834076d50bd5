#include "model/tokenizer.h"

#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/byte_alphabet.h"

namespace braid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr TokenId kEnd = 256;      // <|end|>, control
constexpr TokenId kThink = 257;    // <think>, added
constexpr TokenId kAb = 258;       // ab
constexpr TokenId kEndLong = 259;  // <|end|>!, control

// Token b is the byte b.
TokenizerSpec ByteSpec() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.tokens.emplace_back(SpellByte(byte));
  }
  spec.tokens.insert(spec.tokens.end(),
                     {"<|end|>", "<think>", "ab", "<|end|>!"});
  spec.kinds.assign(spec.tokens.size(), TokenKind::kNormal);
  spec.kinds[kEnd] = TokenKind::kControl;
  spec.kinds[kThink] = TokenKind::kUser;
  spec.kinds[kEndLong] = TokenKind::kControl;
  spec.merges = {"a b"};
  spec.end_of_generation = {kEnd};
  return spec;
}

std::unique_ptr<Tokenizer> Make(TokenizerSpec spec) {
  auto tokenizer = Tokenizer::Create(std::move(spec));
  BRAID_CHECK_MSG(tokenizer.ok(), tokenizer.status().ToString());
  return *std::move(tokenizer);
}

std::vector<TokenId> Bytes(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

TEST(TokenizerTest, ControlTokensOnlyWhereTheyAreParsed) {
  const auto tokenizer = Make(ByteSpec());
  EXPECT_THAT(tokenizer->Encode("x<|end|>", true), ElementsAre('x', kEnd));
  EXPECT_EQ(tokenizer->Encode("x<|end|>", false), Bytes("x<|end|>"));
  // Added tokens are text that has a token: they are found in plain text too.
  EXPECT_THAT(tokenizer->Encode("x<think>", false), ElementsAre('x', kThink));
  // The longest of those that start at one place.
  EXPECT_THAT(tokenizer->Encode("<|end|>!", true), ElementsAre(kEndLong));
  EXPECT_THAT(tokenizer->Encode("<|end|<|end|>", true),
              ElementsAre('<', '|', 'e', 'n', 'd', '|', kEnd));
}

TEST(TokenizerTest, SpansAreOneTextExceptAtControlTokens) {
  const auto tokenizer = Make(ByteSpec());
  // Merges cross the border of spans.
  EXPECT_THAT(tokenizer->Encode({{"xa", true}, {"b", false}}),
              ElementsAre('x', kAb));
  EXPECT_THAT(tokenizer->Encode({{"a", true}, {"<|end|>", true}, {"b", false}}),
              ElementsAre('a', kEnd, 'b'));
  // A control token must lie in parsed text as a whole, which may be several
  // spans.
  EXPECT_THAT(tokenizer->Encode({{"<|e", true}, {"nd|>", true}}),
              ElementsAre(kEnd));
  for (const auto& spans : std::vector<std::vector<TextSpan>>{
           {{"<|e", true}, {"nd|>", false}},
           {{"<|e", false}, {"nd|>", true}},
           {{"<|", true}, {"end|", false}, {">", true}},
           {{"<|", true}, {"", false}, {"e", false}, {"nd|>", true}}}) {
    EXPECT_EQ(tokenizer->Encode(spans), Bytes("<|end|>"));
  }
  // An empty span separates nothing.
  EXPECT_THAT(tokenizer->Encode({{"<|", true}, {"", false}, {"end|>", true}}),
              ElementsAre(kEnd));
  // Where the longest match is not allowed the next one is.
  EXPECT_THAT(tokenizer->Encode({{"<|end|>", true}, {"!", false}}),
              ElementsAre(kEnd, '!'));
  EXPECT_THAT(tokenizer->Encode({{"<thi", true}, {"nk>", false}}),
              ElementsAre(kThink));
  EXPECT_THAT(tokenizer->Encode(std::vector<TextSpan>{}), ElementsAre());
}

TEST(TokenizerTest, TextNeverBecomesAControlTokenByMerges) {
  TokenizerSpec spec = ByteSpec();
  spec.kinds[kAb] = TokenKind::kControl;
  for (const bool ignore_merges : {false, true}) {
    spec.ignore_merges = ignore_merges;
    EXPECT_EQ(Make(spec)->Encode("ab", false), Bytes("ab"));
  }
}

TEST(TokenizerTest, AnyBytesGoThereAndBack) {
  const auto tokenizer = Make(ByteSpec());
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text.append("ab").push_back(static_cast<char>(byte));
  }
  text.append("\xf0\x9f\x98\x80 \xed\xa0\x80 \xff\xfe");
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text, false)), text);
}

TEST(TokenizerTest, BytesWithoutTokenAreLeftOut) {
  TokenizerSpec spec = ByteSpec();
  spec.tokens[0x04] = "unused";
  const auto tokenizer = Make(spec);
  EXPECT_THAT(tokenizer->Encode("x\x04", false), ElementsAre('x'));
  // What is left of the word is merged: the same as the reference.
  EXPECT_THAT(tokenizer->Encode("(\x04)", false), ElementsAre('(', ')'));
}

TEST(TokenizerTest, NormalisesTextButNotAddedTokens) {
  TokenizerSpec spec = ByteSpec();
  spec.tokens.push_back("e\u0301");
  spec.kinds.push_back(TokenKind::kUser);
  spec.normalize_nfc = true;
  const auto tokenizer = Make(spec);
  EXPECT_EQ(tokenizer->Encode("o\u0301", false), Bytes("\u00f3"));
  EXPECT_THAT(tokenizer->Encode("e\u0301", false), ElementsAre(260));
}

TEST(TokenizerTest, ShowsControlTokensOnDemand) {
  const auto tokenizer = Make(ByteSpec());
  EXPECT_EQ(tokenizer->TokenBytes(kEnd), "");
  EXPECT_EQ(tokenizer->TokenBytes(kEnd, true), "<|end|>");
  EXPECT_EQ(tokenizer->TokenBytes(' '), " ");
  EXPECT_EQ(tokenizer->Decode({'a', kEnd, kThink}), "a<think>");
  EXPECT_EQ(tokenizer->Decode({'a', kEnd}, true), "a<|end|>");
  EXPECT_EQ(tokenizer->vocabulary(), 260);
  EXPECT_TRUE(tokenizer->IsSpecial(kEnd));
  EXPECT_FALSE(tokenizer->IsSpecial(kThink));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(kEnd));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(kEndLong));
}

TEST(TokenizerTest, AcceptsFewerKindsThanTokens) {
  TokenizerSpec spec = ByteSpec();
  spec.kinds.resize(kEnd + 1);
  const auto tokenizer = Make(spec);
  EXPECT_THAT(tokenizer->Encode("ab<|end|>", true), ElementsAre(kAb, kEnd));
}

std::string Refusal(const TokenizerSpec& spec) {
  const auto tokenizer = Tokenizer::Create(spec);
  if (tokenizer.ok()) return "accepted";
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(tokenizer.status().message());
}

TEST(TokenizerTest, RefusesWhatMakesNoSense) {
  EXPECT_THAT(Refusal({}), HasSubstr("no usable tokenizer"));

  TokenizerSpec spec = ByteSpec();
  spec.merges.push_back("a q q");
  EXPECT_THAT(Refusal(spec), HasSubstr("merge 1 ('a q q') needs the token"));
  for (const char* merge : {"ab", "a ", " b", ""}) {
    spec.merges[1] = merge;
    EXPECT_THAT(Refusal(spec), HasSubstr("not two tokens"));
  }
  spec.merges[1] = "x y";
  EXPECT_THAT(Refusal(spec), HasSubstr("'xy'"));

  spec = ByteSpec();
  spec.tokens[' '] = "\u2581";  // SentencePiece
  EXPECT_THAT(Refusal(spec), HasSubstr("not a byte-level BPE vocabulary"));

  spec = ByteSpec();
  spec.kinds.resize(1000);
  EXPECT_THAT(Refusal(spec), HasSubstr("kinds for 1000 tokens"));

  for (const TokenId id : {-1, 260}) {
    spec = ByteSpec();
    spec.eos = id;
    EXPECT_THAT(Refusal(spec), HasSubstr("the eos token is"));
    spec = ByteSpec();
    spec.end_of_generation = {id};
    EXPECT_THAT(Refusal(spec), HasSubstr("the end-of-generation token is"));
  }
  spec = ByteSpec();
  spec.add_bos = true;
  EXPECT_THAT(Refusal(spec), HasSubstr("names none"));
}

}  // namespace
}  // namespace braid
