#include "kvcache/prefix_keys.h"

#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace braid {
namespace {

std::vector<TokenId> Tokens(size_t n) {
  std::vector<TokenId> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 1000);
  return tokens;
}

PrefixKeys Of(uint64_t seed, std::span<const TokenId> tokens) {
  PrefixKeys keys(seed, 4);
  keys.Extend(tokens);
  return keys;
}

TEST(PrefixKeysTest, OneKeyPerFullBlock) {
  EXPECT_EQ(Of(1, Tokens(0)).size(), 0u);
  EXPECT_EQ(Of(1, Tokens(3)).size(), 0u);
  EXPECT_EQ(Of(1, Tokens(4)).size(), 1u);
  EXPECT_EQ(Of(1, Tokens(11)).size(), 2u);
}

TEST(PrefixKeysTest, GrowingEqualsComputingAtOnce) {
  const auto tokens = Tokens(41);
  PrefixKeys grown(9, 4);
  for (size_t n = 0; n <= tokens.size(); ++n) {
    grown.Extend(std::span(tokens).first(n));
    EXPECT_EQ(grown.size(), n / 4);
  }
  const PrefixKeys whole = Of(9, tokens);
  uint64_t previous = 9;
  for (uint32_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(grown[i], whole[i]);
    previous =
        PrefixKeys::Next(previous, 9, std::span(tokens).subspan(i * 4, 4));
    EXPECT_EQ(whole[i], previous);
  }
}

TEST(PrefixKeysTest, WhatWasReservedIsNotAllocatedAgain) {
  const auto tokens = Tokens(400);
  PrefixKeys keys(9, 4);
  keys.Reserve(tokens.size());
  const size_t capacity = keys.capacity();
  EXPECT_EQ(capacity, 100u);
  for (size_t n = 0; n <= tokens.size(); ++n) {
    keys.Extend(std::span(tokens).first(n));
  }
  EXPECT_EQ(keys.capacity(), capacity);
  EXPECT_EQ(keys.size(), 100u);
}

TEST(PrefixKeysTest, ShorterTokensForgetNothing) {
  PrefixKeys keys = Of(1, Tokens(12));
  keys.Extend(Tokens(5));
  EXPECT_EQ(keys.size(), 3u);
}

TEST(PrefixKeysTest, DependOnSeedPlaceAndEverythingBefore) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    // Equal blocks in a row: only the place differs.
    const PrefixKeys keys = Of(seed, std::vector<TokenId>(64, 5));
    for (uint32_t i = 0; i < keys.size(); ++i) seen.insert(keys[i]);
  }
  EXPECT_EQ(seen.size(), 8u * 16u);
  auto tokens = Tokens(64);
  const PrefixKeys before = Of(0, tokens);
  tokens[17] ^= 1;
  const PrefixKeys after = Of(0, tokens);
  for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(before[i] == after[i], i < 4);
}

}  // namespace
}  // namespace braid
