// Finds blocks whose KV was computed before, by the tokens that led to it, and
// decides which of them leave first when room is needed.
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
// Eviction takes leaves only. Under EvictionOrder::kExpectedReuse each use of a
// block puts it into a class (reuse_class.h), and of a sample of leaves the one
// with the lowest score (reuse_model.h) goes, with those above it that are no
// different. Age is counted in blocks published, not in seconds.
//
// Memory per block of the pool: an entry of 40 bytes, 10 to 20 of the table, up
// to 4 of the list of leaves; and beside that the block's own tokens, which are
// content. The history is bounded by EvictionConfig.
//
// Thread safety: not thread-safe; lives on the engine thread with its pool.
// Invariant: every indexed block is full, and its KV is complete.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/rng.h"
#include "kvcache/block_pool.h"
#include "kvcache/eviction.h"
#include "kvcache/huge_vector.h"
#include "kvcache/prefix_keys.h"
#include "kvcache/reuse_history.h"
#include "kvcache/reuse_model.h"
#include "kvcache/slot_table.h"

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
  // One index per pool. `key_bits` < 64 is for tests: it makes collisions
  // common.
  PrefixIndex(BlockPool& pool, uint32_t block_tokens,
              const EvictionConfig& eviction = {}, int key_bits = 64);
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
  //
  // The first time for a table also counts as the use of its prefix, by which
  // eviction learns. It goes by the length of the whole prompt, so `keys` hold
  // all of it by then, even if `tokens` are only its first chunk.
  // REQUIRES: no step in flight uses the table; a table is always published
  // with the same seed, and `tokens` only grows.
  void Publish(const PrefixKeys& keys, std::span<const TokenId> tokens,
               BlockTable& table);
  void Publish(uint64_t seed, std::span<const TokenId> tokens,
               BlockTable& table);

  // Evicts cached blocks, leaves of chains before their roots, until `n` blocks
  // are free. False, with nothing evicted, when available() < n.
  [[nodiscard]] bool MakeRoom(uint32_t n);

  // Free now, or free after eviction.
  uint32_t available() const {
    return pool_.count(BlockState::kFree) + pool_.count(BlockState::kCached);
  }

  // Forgets everything; cached blocks become free.
  void Clear();

  const PrefixIndexStats& stats() const { return stats_; }
  // Index metadata without the blocks' tokens, and without the history.
  size_t metadata_bytes() const;
  size_t history_bytes() const { return history_.bytes(); }
  // Recomputes every key and link and CHECKs it. O(capacity).
  void CheckInvariants() const;

 private:
  friend class BlockPool;
  static constexpr uint32_t kNone = SlotTable::kNone;

  struct Entry {
    uint64_t key = 0;
    uint64_t origin = 0;  // the seed if it is a root, else its parent's id
    uint32_t first_child = kNone;  // children: the last used one first
    uint32_t previous_sibling = kNone, next_sibling = kNone;
    uint32_t last_use = 0;        // by clock_
    uint32_t leaf_place = kNone;  // in leaves_
    uint8_t uses = 0;             // saturating
    uint8_t children = 0;         // ever, saturating
    ReuseClass reuse_class = 0;
    bool indexed : 1 = false;
    bool root : 1 = false;
    bool superseded : 1 = false;
  };
  static_assert(sizeof(Entry) == 40);

  // One Publish: where it is, and what is known of the table's request.
  struct Publication {
    uint64_t seed = 0;
    std::span<const TokenId> tokens;
    BlockTable& table;
    uint32_t blocks = 0;    // in front of here, all of them are indexed
    uint32_t last = kNone;  // the last one of these
  };

  std::span<const TokenId> TokensOf(uint32_t block) const;
  std::span<const TokenId> TokensOf(std::span<const TokenId> tokens,
                                    uint32_t i) const {
    return tokens.subspan(size_t{i} * block_tokens_, block_tokens_);
  }
  template <typename Visit>
  void ForEachMatch(const PrefixKeys& keys, std::span<const TokenId> tokens,
                    Visit visit) const;
  // The block behind `parent` that has this key, if its tokens (and the seed of
  // a root) are equal too. `*collision`: something else has the key.
  uint32_t Find(uint64_t key, uint64_t seed, uint32_t parent,
                std::span<const TokenId> tokens, bool* collision) const;
  bool Continues(const Entry& entry, uint64_t seed, uint32_t parent) const {
    return parent == kNone ? entry.root && entry.origin == seed
                           : !entry.root && entry.origin == parent;
  }

  Publication Begin(uint64_t seed, std::span<const TokenId> tokens,
                    BlockTable& table) const;
  // Publishes the next block. False when its key is taken by other content.
  bool PublishBlock(uint64_t key, Publication& at);
  void Insert(uint32_t block, uint64_t key, const Publication& at);
  void Remove(uint32_t block);  // REQUIRES: no children
  void LinkChild(uint32_t parent, uint32_t child);
  void UnlinkChild(uint32_t parent, uint32_t child);

  // prefix_index_eviction.cc
  void StartUse(const PrefixKeys& keys, const Publication& at);
  void Use(uint32_t block, uint32_t i, const BlockTable& table);
  void Supersede(uint32_t block, int children);
  void AdvanceClock(uint32_t blocks);
  float ScoreOf(uint32_t block) const;
  void OnCached(BlockId id);    // called by the pool
  void OnUncached(BlockId id);  // called by the pool
  void AddLeaf(uint32_t block);
  void RemoveLeaf(uint32_t block);
  uint32_t OldestLeaf() const;
  uint32_t LeastUsefulLeaf();
  void EvictFrom(uint32_t leaf, uint32_t free_wanted);

  BlockPool& pool_;
  const uint32_t block_tokens_;
  const EvictionConfig eviction_;
  const uint64_t key_mask_;
  SlotTable by_key_;
  HugeVector<Entry> entries_;     // by block id
  HugeVector<TokenId> tokens_;    // block_tokens_ per block id
  std::vector<uint32_t> leaves_;  // cached blocks without children
  uint32_t clock_ = 0;            // blocks used; wraps
  uint32_t refitted_ = 0;         // when, by clock_
  ReuseModel model_;
  ReuseHistory history_;
  Rng rng_;
  PrefixIndexStats stats_;
};

}  // namespace braid
