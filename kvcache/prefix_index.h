// Finds blocks whose KV was computed before, by the tokens that led to it, and
// decides which of them leave first when room is needed.
//
// A block's key (prefix_keys.h) only finds candidates: seed, tokens and the
// identity of its predecessor are compared before it counts as a hit, so a
// collision costs a comparison, never a wrong answer, and no tokens that a
// tenant may think of lead to blocks of another seed.
//
// The nodes form a forest: a block's parent is the block of the tokens before
// its own. A block leaves the index no later than its parent, so a node's
// parent id always names what it named when the node was made. And what hangs
// below a new block is new: behind the first unknown block of a sequence,
// Publish looks nothing up.
//
// Eviction takes leaves only. Under EvictionOrder::kExpectedReuse each use of a
// block puts it into a class (reuse_class.h), and of a sample of leaves the one
// with the lowest score (reuse_model.h) goes, with those above it that are no
// different. Age is counted in blocks published, not in seconds. Blocks of
// spare sequences go before all others, as far as the sample has any.
//
// Memory per block of the pool: a node of 32 bytes, 25.6 of the table, and 12
// per leaf; and beside that the block's own tokens, which are content. The
// history is bounded by EvictionConfig.
//
// Thread safety: not thread-safe; lives on the engine thread with its pool.
// Invariant: every indexed block is full, and its KV is complete.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kvcache/block_pool.h"
#include "kvcache/eviction.h"
#include "kvcache/huge_vector.h"
#include "kvcache/prefix_keys.h"
#include "kvcache/reuse_history.h"
#include "kvcache/reuse_model.h"
#include "kvcache/slot_table.h"

namespace braid {

struct PrefixUse;  // block_table.h

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
  // One index per pool. `tag_bits` < 32 is for tests: it makes collisions
  // common.
  PrefixIndex(BlockPool& pool, uint32_t block_tokens,
              const EvictionConfig& eviction = {}, int tag_bits = 32);
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
  // the transfer ends). The table knows what it has published, so publishing
  // after every step costs O(1), and O(1) more per new block.
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

  static constexpr uint32_t kRoot = kNone - 1;  // in place of a parent
  // A block's number in by_key_.
  static constexpr uint32_t kIdMask = (1u << SlotTable::kItemBits) - 1;

  // Two of them to a cache line.
  struct Node {
    uint32_t tag = 0;              // of by_key_: the lower half of the key
    uint32_t parent = kNone;       // kRoot: it is a root; kNone: not indexed
    uint32_t first_child = kNone;  // children: the last used one first
    // A root has no siblings. Its seed is in their place.
    uint32_t previous_sibling = kNone, next_sibling = kNone;
    uint32_t last_use = 0;        // by clock_
    uint32_t leaf_place = kNone;  // in leaves_
    uint8_t uses = 0;             // saturating
    uint8_t children = 0;         // ever, saturating
    ReuseClass reuse_class = 0;
    bool superseded : 1 = false;
    bool sampled : 1 = false;  // by history_

    bool indexed() const { return parent != kNone; }
    bool root() const { return parent == kRoot; }
    uint64_t seed() const {
      return uint64_t{previous_sibling} << 32 | next_sibling;
    }
    void set_seed(uint64_t seed) {
      previous_sibling = static_cast<uint32_t>(seed >> 32);
      next_sibling = static_cast<uint32_t>(seed);
    }
  };
  static_assert(sizeof(Node) == 32);
  // To be copied: building one in place stores it piece by piece, and reading
  // it back in larger pieces stalls.
  static const Node kNoNode;

  // A cached block without children, with what it is judged by: a sample of
  // leaves is read far more often than a leaf changes.
  struct Leaf {
    uint32_t block = kNone;
    uint32_t last_use = 0;
    ReuseClass reuse_class = 0;
  };
  struct Victim {
    uint32_t leaf = kNone;
    float next_score = 0;  // of the second lowest in the sample
  };

  // One Publish: where it is, and what is known of the table's request.
  struct Publication {
    uint64_t seed = 0;
    bool spare = false;
    std::span<const TokenId> tokens;
    BlockTable& table;
    uint32_t blocks = 0;    // in front of here, all of them are indexed
    uint32_t last = kRoot;  // the last one of these
  };

  std::span<const TokenId> TokensOf(uint32_t block) const;
  std::span<const TokenId> TokensOf(std::span<const TokenId> tokens,
                                    uint32_t i) const {
    return tokens.subspan(size_t{i} * block_tokens_, block_tokens_);
  }
  // prefix_index_match.cc

  class Walk;
  // Into the second-level cache: what is on its way to the first one takes one
  // of the few places that loads wait in too.
  void PrefetchTokens(uint32_t block) const {
    constexpr int kRead = 0, kIntoSecondLevel = 2;
    __builtin_prefetch(&tokens_[size_t{block} * block_tokens_], kRead,
                       kIntoSecondLevel);
  }
  uint32_t TagOf(uint64_t key) const {
    return static_cast<uint32_t>(key) & tag_mask_;
  }
  // What by_key_ says of a block beside its number: the two that it stands
  // behind, so that one look at the table tells of two blocks of a chain. They
  // leave the index no earlier, so that what it says stays true. kRoot and
  // kNone, cut to as many bits, are no block's number either.
  static uint64_t WordOf(uint32_t parent, uint32_t grandparent) {
    return uint64_t{grandparent & kIdMask} << SlotTable::kItemBits |
           (parent & kIdMask);
  }
  uint64_t WordBehind(uint32_t parent) const {
    return WordOf(parent, parent == kRoot ? kNone : nodes_[parent].parent);
  }
  // The block that stands behind `parent`, holds these tokens, and is of this
  // seed if it is a root; or kNone.
  uint32_t Find(uint32_t tag, uint64_t seed, uint32_t parent,
                std::span<const TokenId> tokens) const;
  bool Continues(const Node& node, uint64_t seed, uint32_t parent) const {
    return node.parent == parent && (parent != kRoot || node.seed() == seed);
  }

  // How many full blocks of `tokens` the table has not published yet.
  uint32_t ToPublish(std::span<const TokenId> tokens, BlockTable& table) const;
  Publication Begin(const PrefixKeys& keys, std::span<const TokenId> tokens,
                    BlockTable& table) const;
  void Insert(uint32_t block, uint64_t key, const Publication& at);
  void Remove(uint32_t block);  // REQUIRES: no children
  void LinkChild(uint32_t parent, uint32_t child);
  void UnlinkChild(uint32_t parent, uint32_t child);

  // prefix_index_eviction.cc
  void StartUse(const PrefixKeys& keys, const Publication& at);
  void Use(uint32_t block, uint64_t key, uint32_t i, const PrefixUse& use);
  void Supersede(uint32_t block, int children);
  void AdvanceClock(uint32_t blocks);
  float ScoreOf(ReuseClass of, uint32_t last_use) const;
  void OnCached(BlockId id);
  void OnUncached(BlockId id);
  void AddLeaf(uint32_t block);
  void RemoveLeaf(uint32_t block);
  uint32_t OldestLeaf() const;
  Victim LeastUsefulLeaf();
  uint32_t Evict(uint32_t leaf);
  void EvictFrom(Victim victim, uint32_t free_wanted);

  BlockPool& pool_;
  const uint32_t block_tokens_;
  const EvictionConfig eviction_;
  const uint32_t tag_mask_;
  SlotTable by_key_;
  HugeVector<Node> nodes_;      // by block id
  HugeVector<TokenId> tokens_;  // block_tokens_ per block id
  std::vector<Leaf> leaves_;
  uint32_t clears_ = 0;    // calls of Clear
  uint32_t clock_ = 0;     // blocks used; wraps
  uint32_t refitted_ = 0;  // when, by clock_
  ReuseModel model_;
  ReuseHistory history_;
  uint64_t draws_ = 0;  // of random numbers
  PrefixIndexStats stats_;
};

}  // namespace braid
