// The state machines of WordSplitter against the regular expressions that
// define them, run by PCRE2.
#include "model/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <memory>
#include <string>
#include <vector>

#include <pcre2.h>

#include "absl/strings/str_replace.h"
#include "base/check.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/utf8.h"

namespace braid {
namespace {

using testing::ElementsAre;

// PCRE2's own \s also takes U+180E when it asks for Unicode properties.
constexpr char kSpaceSet[] =
    "\\t-\\r\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}"
    "\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr char kGpt2Regex[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|[\s]+(?![^\s])|[\s]+)";
constexpr char kLlamaRegex[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|[\s]*[\r\n]+|[\s]+(?![^\s])|[\s]+)";

class Regex {
 public:
  explicit Regex(std::string pattern) {
    pattern = absl::StrReplaceAll(pattern, {{"\\s", kSpaceSet}});
    int error = 0;
    PCRE2_SIZE where = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                              pattern.size(), PCRE2_UTF | PCRE2_UCP, &error,
                              &where, nullptr));
    BRAID_CHECK_MSG(code_ != nullptr, pattern);
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }

  // All matches; they cover the text.
  void Split(std::string_view text, std::vector<std::string>& words) const {
    for (size_t at = 0; at < text.size();) {
      const int found =
          pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                      text.size(), at, PCRE2_ANCHORED, match_.get(), nullptr);
      BRAID_CHECK(found == 1);
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match_.get());
      BRAID_CHECK(range[1] > at);
      words.emplace_back(text.substr(at, range[1] - at));
      at = range[1];
    }
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
    void operator()(pcre2_match_data* m) const { pcre2_match_data_free(m); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_data, Free> match_;
};

std::vector<std::string> Reference(PreTokenizer pre, std::string_view text) {
  static const Regex gpt2(kGpt2Regex);
  static const Regex llama(kLlamaRegex);
  static const Regex qwen(absl::StrReplaceAll(kLlamaRegex, {{"{1,3}", ""}}));
  static const Regex digits(R"(\p{N}|\P{N}+)");
  std::vector<std::string> words;
  switch (pre) {
    case PreTokenizer::kGpt2:
      gpt2.Split(text, words);
      break;
    case PreTokenizer::kLlamaBpe:
      llama.Split(text, words);
      break;
    case PreTokenizer::kQwen2:
      qwen.Split(text, words);
      break;
    case PreTokenizer::kSmolLm: {
      std::vector<std::string> pieces;
      digits.Split(text, pieces);
      for (const std::string& piece : pieces) gpt2.Split(piece, words);
      break;
    }
  }
  return words;
}

std::vector<std::string> Split(PreTokenizer pre, std::string_view text) {
  std::vector<std::string> words;
  for (WordSplitter splitter(pre, text); !splitter.Done();) {
    words.emplace_back(splitter.Next());
  }
  return words;
}

// Characters whose classes all Unicode versions since 2010 agree on.
const std::vector<std::string>& Pieces() {
  static const std::vector<std::string> pieces = {" ",
                                                  " ",
                                                  " ",
                                                  "  ",
                                                  "\t",
                                                  "\n",
                                                  "\r",
                                                  "\r\n",
                                                  "\v",
                                                  "\f",
                                                  "\u0085",
                                                  "\u00a0",
                                                  "\u1680",
                                                  "\u180e",
                                                  "\u2003",
                                                  "\u200b",
                                                  "\u2028",
                                                  "\u3000",
                                                  "\ufeff",
                                                  "a",
                                                  "b",
                                                  "S",
                                                  "s",
                                                  "t",
                                                  "re",
                                                  "ve",
                                                  "VE",
                                                  "ll",
                                                  "Ll",
                                                  "m",
                                                  "d",
                                                  "word",
                                                  "'",
                                                  "'",
                                                  "\u2019",
                                                  "'s",
                                                  "'T",
                                                  "'\u017f",
                                                  "\u017f",
                                                  "0",
                                                  "1",
                                                  "2",
                                                  "34",
                                                  "5678",
                                                  "\u0663",
                                                  "\u0969",
                                                  "\u00b2",
                                                  "\u00bd",
                                                  "\u2167",
                                                  "\U0001d7d8",
                                                  "!",
                                                  ".",
                                                  ",",
                                                  "-",
                                                  "(",
                                                  "\"",
                                                  "_",
                                                  "<|",
                                                  "\u3002",
                                                  "\u20ac",
                                                  "\u00ad",
                                                  "\u00e9",
                                                  "e\u0301",
                                                  "\u4f60\u597d",
                                                  "\u0434\u0430",
                                                  "\u0928\u092e",
                                                  "\U0001f600",
                                                  "\U0001f469\u200d\U0001f467",
                                                  "\u2764\ufe0f",
                                                  std::string(1, '\0'),
                                                  "\x01",
                                                  "\x7f",
                                                  "\ufffd"};
  return pieces;
}

constexpr PreTokenizer kAll[] = {PreTokenizer::kGpt2, PreTokenizer::kSmolLm,
                                 PreTokenizer::kLlamaBpe, PreTokenizer::kQwen2};

TEST(PreTokenizerTest, EqualsRegexOnRandomTexts) {
  const auto& pieces = Pieces();
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Rng random(seed);
    std::string text;
    const uint64_t count = 1 + random.Below(14);
    // Few different pieces make runs and near misses.
    const uint64_t variety = 2 + random.Below(6);
    std::vector<size_t> chosen;
    for (uint64_t i = 0; i < variety; ++i) {
      chosen.push_back(random.Below(pieces.size()));
    }
    for (uint64_t i = 0; i < count; ++i) {
      text += pieces[chosen[random.Below(variety)]];
    }
    for (const PreTokenizer pre : kAll) {
      ASSERT_EQ(Split(pre, text), Reference(pre, text))
          << "pre " << static_cast<int>(pre) << " seed " << seed << ": "
          << testing::PrintToString(text);
    }
  }
}

TEST(PreTokenizerTest, CutsAsPublished) {
  EXPECT_THAT(Split(PreTokenizer::kGpt2, "I'm 42 'LL  x\n\n"),
              ElementsAre("I", "'m", " 42", " '", "LL", " ", " x", "\n\n"));
  EXPECT_THAT(Split(PreTokenizer::kSmolLm, "a  12 b"),
              ElementsAre("a", "  ", "1", "2", " b"));
  EXPECT_THAT(
      Split(PreTokenizer::kLlamaBpe, "x'LL 12345!\n\n \n  y"),
      ElementsAre("x", "'LL", " ", "123", "45", "!\n\n", " \n", " ", " y"));
  EXPECT_THAT(Split(PreTokenizer::kQwen2, "12\ta"),
              ElementsAre("1", "2", "\ta"));
}

// A reader sees U+FFFD in place of each invalid sequence: the words are the
// same ones.
TEST(PreTokenizerTest, InvalidUtf8IsOneOtherCharacter) {
  const std::vector<std::string> pieces = {"a",
                                           " ",
                                           "\n",
                                           "1",
                                           "!",
                                           "\u00e9",
                                           "\x80",
                                           "\xe2\x82",
                                           "\xf0\x9f\x98",
                                           "\xed\xa0\x80",
                                           "\xff",
                                           "\xc0\x80",
                                           "\xf4\x90"};
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Rng random(seed);
    std::string text;
    for (uint64_t i = 1 + random.Below(12); i > 0; --i) {
      text += pieces[random.Below(pieces.size())];
    }
    const auto replaced = [](std::string_view bytes) {
      std::string out;
      for (size_t at = 0; at < bytes.size();) {
        const Utf8Char c = DecodeUtf8(bytes, at);
        out += c.valid ? bytes.substr(at, c.length) : kReplacementUtf8;
        at += c.length;
      }
      return out;
    };
    for (const PreTokenizer pre : kAll) {
      std::vector<std::string> words;
      for (const std::string& word : Split(pre, text)) {
        words.push_back(replaced(word));
      }
      EXPECT_EQ(words, Reference(pre, replaced(text))) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace braid
