// The keys by which the blocks of one sequence are found: a chained hash per
// full block. Computed once per request, as it grows, and used against every
// index that may hold its prefix.
//
//   key[i] = mix(key[i - 1], hash(tokens of block i))      key[-1] = seed
//
// The block hashes do not depend on each other, so the processor computes them
// side by side; only the short mix is a chain.
//
// The seed stands for everything else the KV depends on (model, adapter,
// PARSCALE set and stream) and for who may share it (tenant salt). A key is a
// hint, never proof: PrefixIndex compares seed and tokens on a hit.
//
// Thread safety: none needed; a value.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace braid {

class PrefixKeys final {
 public:
  PrefixKeys() = default;  // Of no sequence: may only be assigned to.
  // `spare`: blocks of this sequence are evicted before all others.
  PrefixKeys(uint64_t seed, uint32_t block_tokens, bool spare = false);

  // Takes the memory for the keys of so many tokens: Extend allocates nothing
  // until there are more.
  void Reserve(size_t tokens);

  // Adds the keys of the full blocks of `tokens` that have none yet.
  // REQUIRES: `tokens` begins with all tokens that keys were computed of.
  void Extend(std::span<const TokenId> tokens);

  uint64_t seed() const { return seed_; }
  bool spare() const { return spare_; }
  uint32_t block_tokens() const { return block_tokens_; }
  // Full blocks.
  uint32_t size() const { return static_cast<uint32_t>(keys_.size()); }
  uint32_t capacity() const { return static_cast<uint32_t>(keys_.capacity()); }
  uint64_t operator[](uint32_t block) const { return keys_[block]; }

  // The key of a block that holds `tokens`. `previous` is the key of the block
  // before it, the seed for the first one.
  static uint64_t Next(uint64_t previous, uint64_t seed,
                       std::span<const TokenId> tokens);

 private:
  uint64_t seed_ = 0;
  uint32_t block_tokens_ = 0;
  bool spare_ = false;
  std::vector<uint64_t> keys_;
};

}  // namespace braid
