// Words that are one token as a whole.
//
// Most words of a text are: looking them up replaces all their merges. The
// table holds what follows from the vocabulary and is never added to, so its
// size is bounded by the model and it needs no lock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"
#include "model/merge_table.h"

namespace braid {

// Immutable once filled. Words up to 16 bytes, nearly all of them, are compared
// as two integers.
class WordTable {
 public:
  // Room for `count` words.
  void Reserve(size_t count) {
    size_t size = 16;
    shift_ = 60;
    while (size < 2 * count) {
      size *= 2;
      --shift_;
    }
    slots_.assign(size, Slot{});
  }

  // `word` is kept as a view.
  void Insert(std::string_view word, TokenId token) {
    if (word.size() > kShort) {
      long_words_.insert_or_assign(word, token);
      longest_ = std::max(longest_, word.size());
      return;
    }
    Slot key = MakeKey(word, word);
    key.token = token;
    slots_[Find(key)] = key;
  }

  // `word` is part of `text`: reading a few bytes past its end is cheaper than
  // copying it. kNoToken when it is not in the table.
  TokenId Lookup(std::string_view word, std::string_view text) const {
    if (word.size() <= kShort) return slots_[Find(MakeKey(word, text))].token;
    if (word.size() > longest_) return kNoToken;
    const auto found = long_words_.find(word);
    return found == long_words_.end() ? kNoToken : found->second;
  }

 private:
  static constexpr size_t kShort = 16;
  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;
    uint32_t length = 0;  // a word is never empty: 0 is a free slot
    TokenId token = kNoToken;
  };

  static Slot MakeKey(std::string_view word, std::string_view text) {
    Slot key;
    key.length = static_cast<uint32_t>(word.size());
    const size_t readable = text.data() + text.size() - word.data();
    if (readable >= kShort) {
      std::memcpy(&key.low, word.data(), 8);
      std::memcpy(&key.high, word.data() + 8, 8);
      const size_t low_bits = 8 * std::min<size_t>(word.size(), 8);
      const size_t high_bits = 8 * word.size() - low_bits;
      key.low &= Mask(low_bits);
      key.high &= Mask(high_bits);
    } else {
      char bytes[kShort] = {};
      std::memcpy(bytes, word.data(), word.size());
      std::memcpy(&key.low, bytes, 8);
      std::memcpy(&key.high, bytes + 8, 8);
    }
    return key;
  }
  static uint64_t Mask(size_t bits) {
    return bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
  }
  size_t Find(const Slot& key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = (key.low ^ key.length) * 0x9E3779B97F4A7C15;
    hash = (hash ^ (hash >> 32) ^ key.high) * 0xD6E8FEB86659FD93;
    size_t at = hash >> shift_;
    while (slots_[at].length != 0 &&
           (slots_[at].low != key.low || slots_[at].high != key.high ||
            slots_[at].length != key.length)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  std::vector<Slot> slots_;
  int shift_ = 60;
  absl::flat_hash_map<std::string_view, TokenId> long_words_;
  size_t longest_ = 0;
};

}  // namespace braid
