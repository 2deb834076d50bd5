#include "kvcache/prefix_keys.h"

#include <algorithm>
#include <array>

// Inlined: a call per block would cost as much as the hash.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

namespace braid {

PrefixKeys::PrefixKeys(uint64_t seed, uint32_t block_tokens, bool spare)
    : seed_(seed), block_tokens_(block_tokens), spare_(spare) {
  BRAID_CHECK(block_tokens > 0);
}

void PrefixKeys::Reserve(size_t tokens) {
  BRAID_CHECK(block_tokens_ > 0);
  keys_.reserve(tokens / block_tokens_);
}

void PrefixKeys::Extend(std::span<const TokenId> tokens) {
  BRAID_CHECK(block_tokens_ > 0);
  const size_t full = tokens.size() / block_tokens_;
  if (full <= keys_.size()) return;
  // At once for a prompt; one by one as an answer grows.
  if (full > keys_.capacity()) {
    keys_.reserve(std::max(full, keys_.capacity() * 2));
  }
  uint64_t key = keys_.empty() ? seed_ : keys_.back();
  for (size_t i = keys_.size(); i < full; ++i) {
    key = Next(key, seed_, tokens.subspan(i * block_tokens_, block_tokens_));
    keys_.push_back(key);
  }
}

uint64_t PrefixKeys::Next(uint64_t previous, uint64_t seed,
                          std::span<const TokenId> tokens) {
  const std::array<uint64_t, 2> link = {
      previous, XXH3_64bits_withSeed(tokens.data(), tokens.size_bytes(), seed)};
  return XXH3_64bits(link.data(), sizeof(link));
}

}  // namespace braid
