// Finds blocks whose KV was computed before, by the tokens that led to it.
//
// A block's key is the chained hash of all tokens up to and including its own,
// seeded with what else the KV depends on (model, adapter, PARSCALE set and
// stream, tenant salt). The hash only finds candidates: the block's tokens and
// the identity of its predecessor are compared before it counts as a hit, so a
// collision costs a miss, never a wrong answer.
//
// Thread safety: not thread-safe; lives on the engine thread with its pool.
// Invariant: every indexed block is full, and its KV is complete.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"
#include "kvcache/block_pool.h"

namespace braid {

struct PrefixMatch {
  std::vector<BlockId> blocks;
  uint32_t tokens = 0;  // covered: blocks.size() * block_tokens
};

struct PrefixIndexStats {
  uint64_t lookups = 0;
  uint64_t tokens_looked_up = 0;
  uint64_t tokens_hit = 0;
  uint64_t blocks_inserted = 0;
  uint64_t blocks_evicted = 0;
};

class PrefixIndex final {
 public:
  PrefixIndex(BlockPool& pool, uint32_t block_tokens);
  ~PrefixIndex();

  // The longest chain of known full blocks that `tokens` begins with. Changes
  // nothing but statistics; the ids are good until the next mutation of the
  // pool (hand them to BlockPool::Share in the same turn).
  PrefixMatch Match(uint64_t seed, std::span<const TokenId> tokens) const;

  // Publishes the full blocks of `table` that hold `tokens`, whose KV is
  // complete. Where an equal block is known already, the table is switched to
  // it and its own copy is given back.
  void Publish(uint64_t seed, std::span<const TokenId> tokens,
               BlockTable& table);

  // Evicts cached blocks, least recently used first and leaves of chains before
  // their roots, until `n` blocks are free. False when that is impossible; what
  // could be evicted then stays.
  [[nodiscard]] bool MakeRoom(uint32_t n);

  // Free now, or free after eviction.
  uint32_t available() const {
    return pool_.count(BlockState::kFree) + pool_.count(BlockState::kCached);
  }

  // Forgets everything; cached blocks become free.
  void Clear();

  const PrefixIndexStats& stats() const { return stats_; }
  void CheckInvariants() const;

 private:
  struct Entry;
  BlockPool& pool_;
  const uint32_t block_tokens_;
  absl::flat_hash_map<uint64_t, uint32_t> by_hash_;
  std::vector<Entry> entries_;  // by block id
  mutable PrefixIndexStats stats_;
};

}  // namespace braid
