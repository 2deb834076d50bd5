// Merging: three ways to encode a word, one definition.
#include "model/bpe.h"

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/byte_alphabet.h"
#include "model/merge_queue.h"
#include "model/tokenizer.h"

namespace braid {
namespace {

// All bytes, and `merges` random merges of tokens made of the letters a to c.
// Merges come in no sensible order and several may make the same token.
TokenizerSpec RandomSpec(uint64_t seed, int merges) {
  Rng random(seed);
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.tokens.emplace_back(SpellByte(byte));
  }
  std::vector<std::string> parts = {"a", "b", "c"};
  std::unordered_set<std::string> known(parts.begin(), parts.end());
  std::unordered_set<std::string> pairs;
  while (spec.merges.size() < static_cast<size_t>(merges)) {
    const std::string left = parts[random.Below(parts.size())];
    const std::string right = parts[random.Below(parts.size())];
    if (!pairs.insert(left + " " + right).second) continue;
    spec.merges.push_back(left + " " + right);
    if (known.insert(left + right).second) {
      spec.tokens.push_back(left + right);
      parts.push_back(left + right);
    }
  }
  for (size_t i = spec.merges.size(); i > 1; --i) {
    std::swap(spec.merges[i - 1], spec.merges[random.Below(i)]);
  }
  return spec;
}

// The definition, word for word.
std::vector<TokenId> NaiveEncode(const TokenizerSpec& spec,
                                 const std::string& word) {
  std::unordered_map<std::string, size_t> ranks;
  std::unordered_map<std::string, TokenId> ids;
  for (size_t i = 0; i < spec.merges.size(); ++i) ranks[spec.merges[i]] = i;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    ids[spec.tokens[i]] = static_cast<TokenId>(i);
  }
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    size_t best_rank = SIZE_MAX;
    size_t best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + " " + parts[i + 1]);
      if (found != ranks.end() && found->second < best_rank) {
        best_rank = found->second;
        best = i;
      }
    }
    if (best_rank == SIZE_MAX) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + best + 1);
  }
  std::vector<TokenId> tokens;
  for (const std::string& part : parts) tokens.push_back(ids.at(part));
  return tokens;
}

TEST(BpeTest, EqualsTheDefinitionForShortAndLongWords) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Rng random(seed + 1000);
    const TokenizerSpec spec = RandomSpec(seed, 2 + random.Below(60));
    auto tokenizer = Tokenizer::Create(spec);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (int i = 0; i < 20; ++i) {
      std::string word;
      const uint64_t letters = 1 + random.Below(3);
      for (uint64_t n = 1 + random.Below(i < 14 ? 20 : 300); n > 0; --n) {
        word.push_back(static_cast<char>('a' + random.Below(letters)));
      }
      ASSERT_EQ((*tokenizer)->Encode(word, false), NaiveEncode(spec, word))
          << "seed " << seed << " word " << word;
    }
  }
}

// Like a real vocabulary for runs: aa, aaaa ... up to 64 of them.
MergeTable DoublingMerges() {
  MergeTable merges;
  merges.Reserve(6);
  for (TokenId i = 0; i < 6; ++i) {
    merges.Insert(i, i, {static_cast<uint32_t>(i), i + 1});
  }
  return merges;
}

TEST(MergeQueueTest, WorkIsLinearInARun) {
  const MergeTable merges = DoublingMerges();
  for (const size_t length : {size_t{1} << 12, size_t{1} << 20}) {
    MergeQueue queue;
    std::vector<TokenId> tokens(length, 0);
    queue.Merge(merges, tokens, 0);
    EXPECT_EQ(tokens, std::vector<TokenId>(length / 64, 6));
    // Each symbol is queued once and merged once per level it lives to.
    EXPECT_LE(queue.steps(), 5 * length);
  }
}

TEST(MergeQueueTest, WorkIsLinearInRandomLetters) {
  const TokenizerSpec spec = RandomSpec(7, 50);
  std::unordered_map<std::string, TokenId> ids;
  for (size_t i = 0; i < spec.tokens.size(); ++i) ids[spec.tokens[i]] = i;
  MergeTable merges;
  merges.Reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const size_t space = spec.merges[rank].find(' ');
    const std::string left = spec.merges[rank].substr(0, space);
    const std::string right = spec.merges[rank].substr(space + 1);
    merges.Insert(ids.at(left), ids.at(right),
                  {static_cast<uint32_t>(rank), ids.at(left + right)});
  }
  Rng random(1);
  MergeQueue queue;  // one for all: it must come out empty each time
  uint64_t before = 0;
  for (const size_t length : {1000, 10000, 100000}) {
    std::vector<TokenId> tokens(length);
    for (TokenId& token : tokens) token = 'A' - 33 + 32 + random.Below(3);
    queue.Merge(merges, tokens, 0);
    EXPECT_LE(queue.steps() - before, 4 * length);
    before = queue.steps();
  }
}

TEST(MergeQueueTest, LeavesWhatStandsBefore) {
  const MergeTable merges = DoublingMerges();
  MergeQueue queue;
  std::vector<TokenId> tokens = {0, 0, 0, 0, 0};
  queue.Merge(merges, tokens, 2);
  EXPECT_EQ(tokens, (std::vector<TokenId>{0, 0, 1, 0}));
  queue.Merge(merges, tokens, 4);
  EXPECT_EQ(tokens, (std::vector<TokenId>{0, 0, 1, 0}));
}

TEST(ByteAlphabetTest, SpellsEveryByteApart) {
  std::unordered_set<std::string> spellings;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelled(SpellByte(byte));
    EXPECT_TRUE(spellings.insert(spelled).second);
    EXPECT_EQ(UnspellBytes(spelled), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(SpellByte(' '), "\u0120");
  EXPECT_EQ(SpellByte('\n'), "\u010a");
  EXPECT_EQ(SpellByte(0xad), "\u0143");
  EXPECT_EQ(UnspellBytes(" "), std::nullopt);
  EXPECT_EQ(UnspellBytes("\u4f60"), std::nullopt);
  EXPECT_EQ(UnspellBytes("\xff"), std::nullopt);
}

}  // namespace
}  // namespace braid
