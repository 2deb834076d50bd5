#include "kvcache/prefix_index.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"
#include "kvcache/block_table.h"

namespace braid {

PrefixIndex::PrefixIndex(BlockPool& pool, uint32_t block_tokens, int hash_bits)
    : pool_(pool),
      block_tokens_(block_tokens),
      hash_mask_(~uint64_t{0} >> (64 - hash_bits)),
      entries_(pool.capacity()),
      tokens_(size_t{pool.capacity()} * block_tokens) {
  BRAID_CHECK(block_tokens > 0 && hash_bits > 0 && hash_bits <= 64);
  by_hash_.reserve(pool.capacity());
}

PrefixIndex::~PrefixIndex() { Clear(); }

PrefixMatch PrefixIndex::Match(uint64_t seed,
                               std::span<const TokenId> tokens) const {
  PrefixMatch match;
  uint64_t hash = seed;
  uint32_t parent = kNone;
  for (size_t begin = 0; begin + block_tokens_ <= tokens.size();
       begin += block_tokens_) {
    const auto own = tokens.subspan(begin, block_tokens_);
    hash = Hash(hash, own);
    bool collision;
    parent = Find(hash, seed, parent, own, &collision);
    if (parent == kNone) break;
    match.blocks.push_back(BlockId(parent));
  }
  match.tokens = static_cast<uint32_t>(match.blocks.size()) * block_tokens_;
  return match;
}

void PrefixIndex::Publish(uint64_t seed, std::span<const TokenId> tokens,
                          BlockTable& table) {
  BRAID_CHECK(table.pool() == &pool_);
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(full <= table.used());
  // An indexed block is in the index at its own place in the chain, and so is
  // everything before it.
  uint32_t i = full;
  while (i > 0 && !entries_[table.blocks()[i - 1].value()].indexed) --i;
  uint64_t hash = seed;
  uint32_t parent = kNone;
  if (i > 0) {
    parent = table.blocks()[i - 1].value();
    const Entry& entry = entries_[parent];
    BRAID_CHECK(entry.depth == i - 1 && entry.seed == seed);
    hash = entry.hash;
  }
  for (; i < full; ++i) {
    const auto own = tokens.subspan(size_t{i} * block_tokens_, block_tokens_);
    hash = Hash(hash, own);
    bool collision;
    const uint32_t known = Find(hash, seed, parent, own, &collision);
    if (collision) return;  // Neither this block nor one behind it is findable.
    if (known == kNone) {
      Insert(table.blocks()[i].value(), hash, seed, parent, own);
      parent = table.blocks()[i].value();
    } else {
      table.ReplaceShared(i, BlockId(known));
      parent = known;
    }
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
  by_hash_.clear();
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    if (!entries_[block].indexed) continue;
    entries_[block] = Entry();
    pool_.SetIndexed(BlockId(block), false);
  }
}

uint64_t PrefixIndex::Hash(uint64_t previous_hash,
                           std::span<const TokenId> tokens) const {
  return Hash64Of(tokens, previous_hash) & hash_mask_;
}

std::span<const TokenId> PrefixIndex::TokensOf(uint32_t block) const {
  return {tokens_.data() + size_t{block} * block_tokens_, block_tokens_};
}

uint32_t PrefixIndex::Find(uint64_t hash, uint64_t seed, uint32_t parent,
                           std::span<const TokenId> tokens,
                           bool* collision) const {
  *collision = false;
  const auto it = by_hash_.find(hash);
  if (it == by_hash_.end()) return kNone;
  const Entry& entry = entries_[it->second];
  if (entry.seed == seed && entry.parent == parent &&
      std::ranges::equal(TokensOf(it->second), tokens)) {
    return it->second;
  }
  *collision = true;
  return kNone;
}

void PrefixIndex::Insert(uint32_t block, uint64_t hash, uint64_t seed,
                         uint32_t parent, std::span<const TokenId> tokens) {
  Entry& entry = entries_[block];
  entry = {.hash = hash, .seed = seed, .indexed = true, .parent = parent};
  if (parent != kNone) {
    entry.depth = entries_[parent].depth + 1;
    entry.next_sibling = entries_[parent].first_child;
    if (entry.next_sibling != kNone) {
      entries_[entry.next_sibling].previous_sibling = block;
    }
    entries_[parent].first_child = block;
  }
  std::ranges::copy(tokens, tokens_.begin() + size_t{block} * block_tokens_);
  by_hash_.emplace(hash, block);
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
  by_hash_.erase(entry.hash);
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
    uint64_t previous_hash = entry.seed;
    if (entry.parent != kNone) {
      const Entry& parent = entries_[entry.parent];
      BRAID_CHECK(parent.indexed && parent.seed == entry.seed);
      BRAID_CHECK(parent.depth + 1 == entry.depth);
      previous_hash = parent.hash;
    } else {
      BRAID_CHECK(entry.depth == 0);
      ++linked;
    }
    BRAID_CHECK(entry.hash == Hash(previous_hash, TokensOf(block)));
    const auto it = by_hash_.find(entry.hash);
    BRAID_CHECK(it != by_hash_.end() && it->second == block);
    uint32_t previous = kNone;
    for (uint32_t child = entry.first_child; child != kNone;
         child = entries_[child].next_sibling) {
      BRAID_CHECK(entries_[child].parent == block);
      BRAID_CHECK(entries_[child].previous_sibling == previous);
      BRAID_CHECK(++linked <= entries_.size());
      previous = child;
    }
  }
  BRAID_CHECK(indexed == by_hash_.size() && linked == indexed);
}

}  // namespace braid
