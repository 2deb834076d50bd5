// Finds blocks whose KV was computed before, by the tokens that led to it.
//
// A block's key (prefix_keys.h) only finds candidates: seed, tokens and the
// identity of its predecessor are compared before it counts as a hit, so a
// collision costs a miss, never a wrong answer, and no tokens that a tenant may
// think of lead to blocks of another seed.
//
// The entries form a forest: a block's parent is the block of the tokens before
// its own. A block leaves the index no later than its parent, so an entry's
// parent id always names what it named when the entry was made.
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
#include "kvcache/prefix_keys.h"

namespace braid {

struct PrefixMatch {
  std::vector<BlockId> blocks;
  uint32_t tokens = 0;  // covered: blocks.size() * block_tokens
};

struct PrefixIndexStats {
  uint64_t blocks_inserted = 0;
  uint64_t blocks_evicted = 0;
};

class PrefixIndex final {
 public:
  // `key_bits` < 64 is for tests: it makes collisions common.
  PrefixIndex(BlockPool& pool, uint32_t block_tokens, int key_bits = 64);
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // The longest chain of known full blocks that `tokens` begins with. Changes
  // nothing; the ids are good until the next mutation of the
  // pool (hand them to BlockPool::Share in the same turn). At least one token
  // must be computed to draw the next one: a caller that wants this passes all
  // tokens but the last.
  //
  // `keys` belong to a sequence that begins with `tokens`: one computation of
  // keys serves every index. `reuse` lends its memory to the result.
  PrefixMatch Match(const PrefixKeys& keys, std::span<const TokenId> tokens,
                    PrefixMatch reuse = {}) const;
  PrefixMatch Match(uint64_t seed, std::span<const TokenId> tokens) const;

  // How many blocks Match would find: for placement, which asks every pool.
  uint32_t CountMatch(const PrefixKeys& keys,
                      std::span<const TokenId> tokens) const;

  // Publishes the full blocks of `table` that hold `tokens`, whose KV is
  // complete. Where an equal block is known already, the table is switched to
  // it and its own copy is given back (a SendLease on that copy keeps it until
  // the transfer ends). What was published before is recognised from the back,
  // so publishing after every step costs O(1) per new block.
  // REQUIRES: no step in flight uses the table; a table is always published
  // with the same seed, and `tokens` only grows.
  void Publish(const PrefixKeys& keys, std::span<const TokenId> tokens,
               BlockTable& table);
  void Publish(uint64_t seed, std::span<const TokenId> tokens,
               BlockTable& table);

  // Evicts cached blocks, least recently used first and leaves of chains before
  // their roots, until `n` blocks are free. False, with nothing evicted, when
  // available() < n.
  [[nodiscard]] bool MakeRoom(uint32_t n);

  // Free now, or free after eviction.
  uint32_t available() const {
    return pool_.count(BlockState::kFree) + pool_.count(BlockState::kCached);
  }

  // Forgets everything; cached blocks become free.
  void Clear();

  const PrefixIndexStats& stats() const { return stats_; }
  // Recomputes every key and link and CHECKs it. O(capacity).
  void CheckInvariants() const;

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  struct Entry {
    uint64_t key = 0;
    uint64_t seed = 0;
    bool indexed = false;
    uint32_t depth = 0;  // blocks before it
    uint32_t parent = kNone;
    uint32_t first_child = kNone;
    uint32_t previous_sibling = kNone, next_sibling = kNone;
  };

  // Where `tokens` and what is published of them in `table` part: the blocks
  // in front, all indexed, and the last one of them.
  struct Published {
    uint32_t blocks = 0;
    uint32_t last = kNone;
  };
  Published PublishedPart(uint64_t seed, uint32_t full,
                          const BlockTable& table) const;
  // Publishes one block. False when its key is taken by another content.
  bool PublishBlock(uint64_t key, uint64_t seed,
                    std::span<const TokenId> tokens, Published& at,
                    BlockTable& table);
  std::span<const TokenId> TokensOf(uint32_t block) const;
  // The block that has this key, if seed, parent and tokens are equal too.
  // `*collision` tells whether something else has the key.
  uint32_t Find(uint64_t key, uint64_t seed, uint32_t parent,
                std::span<const TokenId> tokens, bool* collision) const;
  void Insert(uint32_t block, uint64_t key, uint64_t seed, uint32_t parent,
              std::span<const TokenId> tokens);
  void Remove(uint32_t block);  // REQUIRES: no children

  BlockPool& pool_;
  const uint32_t block_tokens_;
  const uint64_t key_mask_;
  absl::flat_hash_map<uint64_t, uint32_t> by_key_;
  std::vector<Entry> entries_;   // by block id
  std::vector<TokenId> tokens_;  // block_tokens_ per block id
  PrefixIndexStats stats_;
};

}  // namespace braid
