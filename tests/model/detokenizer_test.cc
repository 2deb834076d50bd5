#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/byte_alphabet.h"
#include "model/tokenizer.h"

namespace braid {
namespace {

constexpr TokenId kControl = 256;

// Token b is the byte b; 256 a control token; then pieces of characters.
std::unique_ptr<Tokenizer> ByteTokenizer() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.tokens.emplace_back(SpellByte(byte));
  }
  spec.tokens.push_back("<|end|>");
  for (const char* bytes : {"\xf0\x9f", "\x98\x80", "a\xe2\x82", "\xac z",
                            "\xc3\xa9\xc3", "\xed\xa0"}) {
    std::string spelled;
    for (const char* c = bytes; *c; ++c) {
      spelled.append(SpellByte(static_cast<uint8_t>(*c)));
    }
    spec.tokens.push_back(spelled);
  }
  spec.kinds.assign(kControl, TokenKind::kNormal);
  spec.kinds.push_back(TokenKind::kControl);
  auto tokenizer = Tokenizer::Create(std::move(spec));
  BRAID_CHECK_MSG(tokenizer.ok(), tokenizer.status().ToString());
  return *std::move(tokenizer);
}

std::string Stream(const Tokenizer& tokenizer,
                   const std::vector<TokenId>& ids) {
  Detokenizer detokenizer(&tokenizer);
  std::string text;
  for (const TokenId id : ids) detokenizer.Push(id, text);
  detokenizer.Flush(text);
  return text;
}

// Replacement of maximal subparts by the table of well-formed byte sequences
// of the Unicode standard (table 3-7), written as a list of its rows.
std::string Replaced(const std::string& bytes) {
  struct Row {
    std::vector<std::pair<uint8_t, uint8_t>> ranges;
  };
  static const std::vector<Row> rows = {
      {{{0x00, 0x7F}}},
      {{{0xC2, 0xDF}, {0x80, 0xBF}}},
      {{{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}}},
      {{{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}}},
      {{{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}}},
      {{{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}}},
      {{{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
      {{{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
      {{{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}}};
  std::string out;
  for (size_t at = 0; at < bytes.size();) {
    size_t longest = 1;
    bool whole = false;
    for (const Row& row : rows) {
      size_t n = 0;
      while (n < row.ranges.size() && at + n < bytes.size()) {
        const auto byte = static_cast<uint8_t>(bytes[at + n]);
        if (byte < row.ranges[n].first || byte > row.ranges[n].second) break;
        ++n;
      }
      if (n == 0) continue;
      longest = n;
      whole = n == row.ranges.size();
    }
    out += whole ? bytes.substr(at, longest) : "\xEF\xBF\xBD";
    at += longest;
  }
  return out;
}

TEST(DetokenizerTest, HoldsBackIncompleteCharacters) {
  const auto tokenizer = ByteTokenizer();
  Detokenizer detokenizer(tokenizer.get());
  std::string text;
  for (const TokenId id : {0xF0, 0x9F, 0x98}) {
    detokenizer.Push(id, text);
    EXPECT_EQ(text, "");
  }
  // A hidden token between does not end the character.
  detokenizer.Push(kControl, text);
  EXPECT_EQ(text, "");
  detokenizer.Push(0x80, text);
  EXPECT_EQ(text, "\U0001f600");
}

TEST(DetokenizerTest, ReplacesWhatCannotBeUtf8) {
  const auto tokenizer = ByteTokenizer();
  Detokenizer detokenizer(tokenizer.get());
  std::string text;
  detokenizer.Push(0xE2, text);
  detokenizer.Push('a', text);
  EXPECT_EQ(text, "\ufffda");
  detokenizer.Push(0xFF, text);
  EXPECT_EQ(text, "\ufffda\ufffd");
  detokenizer.Push(0xE2, text);
  detokenizer.Push(0x82, text);
  EXPECT_EQ(text, "\ufffda\ufffd");
  detokenizer.Flush(text);
  EXPECT_EQ(text, "\ufffda\ufffd\ufffd");
  detokenizer.Flush(text);
  EXPECT_EQ(text, "\ufffda\ufffd\ufffd");
}

TEST(DetokenizerTest, ShowsControlTokensOnDemand) {
  const auto tokenizer = ByteTokenizer();
  Detokenizer detokenizer(tokenizer.get(), /*show_special=*/true);
  std::string text;
  detokenizer.Push(kControl, text);
  EXPECT_EQ(text, "<|end|>");
}

TEST(DetokenizerTest, RandomTokensEqualTheTable) {
  const auto tokenizer = ByteTokenizer();
  const std::vector<TokenId> telling = {
      'a',  0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
      0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5,
      0xFF, 256,  257,  258,  259,  260,  261,  262};
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Rng random(seed);
    std::vector<TokenId> ids;
    for (uint64_t n = random.Below(12); n > 0; --n) {
      ids.push_back(random.Below(2) ? telling[random.Below(telling.size())]
                                    : random.Below(tokenizer->vocabulary()));
    }
    ASSERT_EQ(Stream(*tokenizer, ids), Replaced(tokenizer->Decode(ids)))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace braid
