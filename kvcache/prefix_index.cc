#include "kvcache/prefix_index.h"

#include <algorithm>

#include "base/check.h"
#include "kvcache/block_table.h"

namespace braid {

PrefixIndex::PrefixIndex(BlockPool& pool, uint32_t block_tokens, int key_bits)
    : pool_(pool),
      block_tokens_(block_tokens),
      key_mask_(~uint64_t{0} >> (64 - key_bits)),
      entries_(pool.capacity()),
      tokens_(size_t{pool.capacity()} * block_tokens) {
  BRAID_CHECK(block_tokens > 0 && key_bits > 0 && key_bits <= 64);
  by_key_.reserve(pool.capacity());
}

PrefixIndex::~PrefixIndex() { Clear(); }

PrefixMatch PrefixIndex::Match(const PrefixKeys& keys,
                               std::span<const TokenId> tokens,
                               PrefixMatch reuse) const {
  BRAID_CHECK(keys.block_tokens() == block_tokens_);
  const size_t full = tokens.size() / block_tokens_;
  BRAID_CHECK(full <= keys.size());
  reuse.blocks.clear();
  uint32_t parent = kNone;
  for (uint32_t i = 0; i < full; ++i) {
    bool collision;
    parent = Find(keys[i], keys.seed(), parent,
                  tokens.subspan(size_t{i} * block_tokens_, block_tokens_),
                  &collision);
    if (parent == kNone) break;
    reuse.blocks.push_back(BlockId(parent));
  }
  reuse.tokens = static_cast<uint32_t>(reuse.blocks.size()) * block_tokens_;
  return reuse;
}

PrefixMatch PrefixIndex::Match(uint64_t seed,
                               std::span<const TokenId> tokens) const {
  PrefixKeys keys(seed, block_tokens_);
  keys.Extend(tokens);
  return Match(keys, tokens);
}

uint32_t PrefixIndex::CountMatch(const PrefixKeys& keys,
                                 std::span<const TokenId> tokens) const {
  return static_cast<uint32_t>(Match(keys, tokens).blocks.size());
}

PrefixIndex::Published PrefixIndex::PublishedPart(
    uint64_t seed, uint32_t full, const BlockTable& table) const {
  BRAID_CHECK(table.pool() == &pool_);
  BRAID_CHECK(full <= table.used());
  // An indexed block is in the index at its own place in the chain, and so is
  // everything before it.
  uint32_t i = full;
  while (i > 0 && !entries_[table.blocks()[i - 1].value()].indexed) --i;
  if (i == 0) return {};
  const uint32_t last = table.blocks()[i - 1].value();
  BRAID_CHECK(entries_[last].depth == i - 1 && entries_[last].seed == seed);
  return {i, last};
}

bool PrefixIndex::PublishBlock(uint64_t key, uint64_t seed,
                               std::span<const TokenId> tokens, Published& at,
                               BlockTable& table) {
  bool collision;
  const uint32_t known = Find(key, seed, at.last, tokens, &collision);
  if (collision) return false;
  if (known == kNone) {
    const uint32_t own = table.blocks()[at.blocks].value();
    Insert(own, key, seed, at.last, tokens);
    at.last = own;
  } else {
    table.ReplaceShared(at.blocks, BlockId(known));
    at.last = known;
  }
  ++at.blocks;
  return true;
}

void PrefixIndex::Publish(const PrefixKeys& keys,
                          std::span<const TokenId> tokens, BlockTable& table) {
  BRAID_CHECK(keys.block_tokens() == block_tokens_);
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(full <= keys.size());
  Published at = PublishedPart(keys.seed(), full, table);
  // Behind a collision nothing is findable.
  while (at.blocks < full &&
         PublishBlock(
             keys[at.blocks], keys.seed(),
             tokens.subspan(size_t{at.blocks} * block_tokens_, block_tokens_),
             at, table)) {
  }
}

void PrefixIndex::Publish(uint64_t seed, std::span<const TokenId> tokens,
                          BlockTable& table) {
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  Published at = PublishedPart(seed, full, table);
  uint64_t key = at.last == kNone ? seed : entries_[at.last].key;
  while (at.blocks < full) {
    const auto own =
        tokens.subspan(size_t{at.blocks} * block_tokens_, block_tokens_);
    key = PrefixKeys::Next(key, seed, own);
    if (!PublishBlock(key, seed, own, at, table)) return;
  }
}

bool PrefixIndex::MakeRoom(uint32_t n) {
  if (available() < n) return false;
  while (pool_.count(BlockState::kFree) < n) {
    uint32_t victim = pool_.OldestCached()->value();
    // Tables and leases give blocks back from the tail, so the oldest cached
    // block is a leaf, except when a lease on a descendant outlives the table
    // that held them both. That descendant leaves the index then (its bytes
    // stay until the lease ends): without its parent nobody could find it.
    while (entries_[victim].first_child != kNone) {
      victim = entries_[victim].first_child;
    }
    Remove(victim);
    ++stats_.blocks_evicted;
  }
  return true;
}

void PrefixIndex::Clear() {
  by_key_.clear();
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    if (!entries_[block].indexed) continue;
    entries_[block] = Entry();
    pool_.SetIndexed(BlockId(block), false);
  }
}

std::span<const TokenId> PrefixIndex::TokensOf(uint32_t block) const {
  return {tokens_.data() + size_t{block} * block_tokens_, block_tokens_};
}

uint32_t PrefixIndex::Find(uint64_t key, uint64_t seed, uint32_t parent,
                           std::span<const TokenId> tokens,
                           bool* collision) const {
  *collision = false;
  const auto it = by_key_.find(key & key_mask_);
  if (it == by_key_.end()) return kNone;
  const Entry& entry = entries_[it->second];
  if (entry.seed == seed && entry.parent == parent &&
      std::ranges::equal(TokensOf(it->second), tokens)) {
    return it->second;
  }
  *collision = true;
  return kNone;
}

void PrefixIndex::Insert(uint32_t block, uint64_t key, uint64_t seed,
                         uint32_t parent, std::span<const TokenId> tokens) {
  Entry& entry = entries_[block];
  entry = {.key = key, .seed = seed, .indexed = true, .parent = parent};
  if (parent != kNone) {
    entry.depth = entries_[parent].depth + 1;
    entry.next_sibling = entries_[parent].first_child;
    if (entry.next_sibling != kNone) {
      entries_[entry.next_sibling].previous_sibling = block;
    }
    entries_[parent].first_child = block;
  }
  std::ranges::copy(tokens, tokens_.begin() + size_t{block} * block_tokens_);
  by_key_.emplace(key & key_mask_, block);
  pool_.SetIndexed(BlockId(block), true);
  ++stats_.blocks_inserted;
}

void PrefixIndex::Remove(uint32_t block) {
  Entry& entry = entries_[block];
  BRAID_CHECK(entry.indexed && entry.first_child == kNone);
  if (entry.previous_sibling != kNone) {
    entries_[entry.previous_sibling].next_sibling = entry.next_sibling;
  } else if (entry.parent != kNone) {
    entries_[entry.parent].first_child = entry.next_sibling;
  }
  if (entry.next_sibling != kNone) {
    entries_[entry.next_sibling].previous_sibling = entry.previous_sibling;
  }
  by_key_.erase(entry.key & key_mask_);
  entry = Entry();
  pool_.SetIndexed(BlockId(block), false);
}

void PrefixIndex::CheckInvariants() const {
  size_t indexed = 0, linked = 0;
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    const Entry& entry = entries_[block];
    BRAID_CHECK(pool_.at(BlockId(block)).indexed == entry.indexed);
    if (!entry.indexed) continue;
    ++indexed;
    uint64_t previous_key = entry.seed;
    if (entry.parent != kNone) {
      const Entry& parent = entries_[entry.parent];
      BRAID_CHECK(parent.indexed && parent.seed == entry.seed);
      BRAID_CHECK(parent.depth + 1 == entry.depth);
      previous_key = parent.key;
    } else {
      BRAID_CHECK(entry.depth == 0);
      ++linked;
    }
    BRAID_CHECK(entry.key ==
                PrefixKeys::Next(previous_key, entry.seed, TokensOf(block)));
    const auto it = by_key_.find(entry.key & key_mask_);
    BRAID_CHECK(it != by_key_.end() && it->second == block);
    uint32_t previous = kNone;
    for (uint32_t child = entry.first_child; child != kNone;
         child = entries_[child].next_sibling) {
      BRAID_CHECK(entries_[child].parent == block);
      BRAID_CHECK(entries_[child].previous_sibling == previous);
      BRAID_CHECK(++linked <= entries_.size());
      previous = child;
    }
  }
  BRAID_CHECK(indexed == by_key_.size() && linked == indexed);
}

}  // namespace braid
