#include "kvcache/prefix_index.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kvcache/block_table.h"
#include "kvcache/reuse_class.h"

namespace braid {
namespace {

// A small pool needs no long memory.
uint32_t HistoryFor(const EvictionConfig& eviction, uint32_t capacity) {
  BRAID_CHECK(eviction.history > 0);
  const uint64_t enough = std::max<uint64_t>(1024, uint64_t{capacity} * 32);
  return static_cast<uint32_t>(std::min<uint64_t>(eviction.history, enough));
}

}  // namespace

PrefixIndex::PrefixIndex(BlockPool& pool, uint32_t block_tokens,
                         const EvictionConfig& eviction, int key_bits)
    : pool_(pool),
      block_tokens_(block_tokens),
      eviction_(eviction),
      key_mask_(~uint64_t{0} >> (64 - key_bits)),
      by_key_(pool.capacity()),
      entries_(pool.capacity()),
      tokens_(size_t{pool.capacity()} * block_tokens),
      model_(kReuseClasses),
      history_(HistoryFor(eviction, pool.capacity()), pool.capacity(),
               kReuseClasses),
      rng_(eviction.seed) {
  BRAID_CHECK(block_tokens > 0 && key_bits > 0 && key_bits <= 64);
  BRAID_CHECK(eviction.sample > 0);
  BRAID_CHECK_MSG(pool_.index_ == nullptr, "a pool has one index");
  pool_.index_ = this;
}

PrefixIndex::~PrefixIndex() {
  Clear();
  pool_.index_ = nullptr;
}

std::span<const TokenId> PrefixIndex::TokensOf(uint32_t block) const {
  return {tokens_.data() + size_t{block} * block_tokens_, block_tokens_};
}

template <typename Visit>
void PrefixIndex::ForEachMatch(const PrefixKeys& keys,
                               std::span<const TokenId> tokens,
                               Visit visit) const {
  BRAID_CHECK(keys.block_tokens() == block_tokens_);
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(full <= keys.size());
  // All keys are known, so memory is asked for well before it is needed: first
  // the slot of the table, then what it names.
  constexpr uint32_t kSlotAhead = 16, kEntryAhead = 8;
  for (uint32_t i = 0; i < std::min(full, kSlotAhead); ++i) {
    by_key_.Prefetch(keys[i] & key_mask_);
  }
  uint32_t parent = kNone;
  for (uint32_t i = 0; i < full; ++i) {
    if (i + kSlotAhead < full) {
      by_key_.Prefetch(keys[i + kSlotAhead] & key_mask_);
    }
    if (i + kEntryAhead < full) {
      const uint32_t block =
          by_key_.Candidate(keys[i + kEntryAhead] & key_mask_);
      if (block != kNone) {
        __builtin_prefetch(&entries_[block]);
        __builtin_prefetch(&tokens_[size_t{block} * block_tokens_]);
      }
    }
    bool collision;
    parent =
        Find(keys[i], keys.seed(), parent, TokensOf(tokens, i), &collision);
    if (parent == kNone) return;
    visit(parent);
  }
}

PrefixMatch PrefixIndex::Match(const PrefixKeys& keys,
                               std::span<const TokenId> tokens,
                               PrefixMatch reuse) const {
  reuse.blocks.clear();
  ForEachMatch(keys, tokens,
               [&](uint32_t block) { reuse.blocks.push_back(BlockId(block)); });
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
  uint32_t blocks = 0;
  ForEachMatch(keys, tokens, [&](uint32_t) { ++blocks; });
  return blocks;
}

uint32_t PrefixIndex::Find(uint64_t key, uint64_t seed, uint32_t parent,
                           std::span<const TokenId> tokens,
                           bool* collision) const {
  *collision = false;
  const uint32_t block = by_key_.Find(key & key_mask_, [&](uint32_t candidate) {
    return ((entries_[candidate].key ^ key) & key_mask_) == 0;
  });
  if (block == kNone) return kNone;
  if (Continues(entries_[block], seed, parent) &&
      std::memcmp(TokensOf(block).data(), tokens.data(), tokens.size_bytes()) ==
          0) {
    return block;
  }
  *collision = true;
  return kNone;
}

PrefixIndex::Publication PrefixIndex::Begin(uint64_t seed,
                                            std::span<const TokenId> tokens,
                                            BlockTable& table) const {
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(table.pool() == &pool_);
  BRAID_CHECK(full <= table.used());
  Publication at{
      .seed = seed,
      .tokens = tokens.first(size_t{full} * block_tokens_),
      .table = table,
  };
  // An indexed block is in the index at its own place in the chain, and so is
  // everything before it.
  const auto blocks = table.blocks();
  uint32_t i = full;
  while (i > 0 && !entries_[blocks[i - 1].value()].indexed) --i;
  if (i == 0) return at;
  at.blocks = i;
  at.last = blocks[i - 1].value();
  BRAID_CHECK(Continues(entries_[at.last], seed,
                        i == 1 ? kNone : blocks[i - 2].value()));
  return at;
}

bool PrefixIndex::PublishBlock(uint64_t key, Publication& at) {
  const uint32_t i = at.blocks;
  bool collision;
  const uint32_t known =
      Find(key, at.seed, at.last, TokensOf(at.tokens, i), &collision);
  if (collision) return false;
  if (known == kNone) {
    const uint32_t own = at.table.blocks()[i].value();
    Insert(own, key, at);
    at.last = own;
  } else {
    at.table.ReplaceShared(i, BlockId(known));
    at.last = known;
  }
  Use(at.last, i, at.table);
  ++at.blocks;
  return true;
}

void PrefixIndex::Publish(const PrefixKeys& keys,
                          std::span<const TokenId> tokens, BlockTable& table) {
  BRAID_CHECK(keys.block_tokens() == block_tokens_);
  Publication at = Begin(keys.seed(), tokens, table);
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(full <= keys.size());
  PrefixUse& use = table.prefix_use_;
  // Less than was counted if the index was cleared since.
  use.published = std::min(use.published, at.blocks);
  if (full == use.published) return;
  if (use.published == 0) StartUse(keys, at);
  AdvanceClock(full - use.published);
  for (uint32_t i = use.published; i < at.blocks; ++i) {
    Use(table.blocks()[i].value(), i, table);
  }
  // Behind a collision nothing is findable.
  constexpr uint32_t kAhead = 8;
  while (at.blocks < full) {
    if (at.blocks + kAhead < full) {
      by_key_.Prefetch(keys[at.blocks + kAhead] & key_mask_);
      __builtin_prefetch(&entries_[table.blocks()[at.blocks + kAhead].value()]);
    }
    if (!PublishBlock(keys[at.blocks], at)) break;
  }
  use.published = at.blocks;
}

void PrefixIndex::Publish(uint64_t seed, std::span<const TokenId> tokens,
                          BlockTable& table) {
  const Publication at = Begin(seed, tokens, table);
  const size_t full = tokens.size() / block_tokens_;
  if (at.blocks == full && table.prefix_use_.published >= full) return;
  PrefixKeys keys(seed, block_tokens_);
  keys.Extend(tokens);
  Publish(keys, tokens, table);
}

void PrefixIndex::Insert(uint32_t block, uint64_t key, const Publication& at) {
  Entry& entry = entries_[block];
  entry = Entry();
  entry.key = key;
  entry.indexed = true;
  entry.root = at.last == kNone;
  entry.origin = entry.root ? at.seed : at.last;
  if (!entry.root) {
    LinkChild(at.last, block);
    uint8_t& children = entries_[at.last].children;
    children += children < 255;
  }
  std::ranges::copy(TokensOf(at.tokens, at.blocks),
                    tokens_.begin() + size_t{block} * block_tokens_);
  by_key_.Insert(key & key_mask_, block);
  pool_.SetIndexed(BlockId(block), true);
  ++stats_.blocks_inserted;
}

void PrefixIndex::Remove(uint32_t block) {
  Entry& entry = entries_[block];
  BRAID_CHECK(entry.indexed && entry.first_child == kNone);
  by_key_.Erase(entry.key & key_mask_, block);
  pool_.SetIndexed(BlockId(block), false);
  if (!entry.root) {
    const auto parent = static_cast<uint32_t>(entry.origin);
    UnlinkChild(parent, block);
    if (entries_[parent].first_child == kNone &&
        pool_.state(BlockId(parent)) == BlockState::kCached) {
      AddLeaf(parent);
    }
  }
  entry = Entry();
}

void PrefixIndex::LinkChild(uint32_t parent, uint32_t child) {
  Entry& entry = entries_[child];
  entry.previous_sibling = kNone;
  entry.next_sibling = entries_[parent].first_child;
  if (entry.next_sibling != kNone) {
    entries_[entry.next_sibling].previous_sibling = child;
  }
  entries_[parent].first_child = child;
}

void PrefixIndex::UnlinkChild(uint32_t parent, uint32_t child) {
  const Entry& entry = entries_[child];
  (entry.previous_sibling == kNone
       ? entries_[parent].first_child
       : entries_[entry.previous_sibling].next_sibling) = entry.next_sibling;
  if (entry.next_sibling != kNone) {
    entries_[entry.next_sibling].previous_sibling = entry.previous_sibling;
  }
}

void PrefixIndex::Clear() {
  by_key_.Clear();
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    if (!entries_[block].indexed) continue;
    pool_.SetIndexed(BlockId(block), false);
    entries_[block] = Entry();
  }
  BRAID_CHECK(leaves_.empty());
}

size_t PrefixIndex::metadata_bytes() const {
  return entries_.size() * sizeof(Entry) + by_key_.bytes() +
         leaves_.capacity() * sizeof(uint32_t);
}

void PrefixIndex::CheckInvariants() const {
  size_t indexed = 0, linked = 0, leaves = 0;
  for (uint32_t block = 0; block < entries_.size(); ++block) {
    const Entry& entry = entries_[block];
    BRAID_CHECK(pool_.at(BlockId(block)).indexed == entry.indexed);
    const bool leaf = entry.indexed && entry.first_child == kNone &&
                      pool_.state(BlockId(block)) == BlockState::kCached;
    BRAID_CHECK(leaf == (entry.leaf_place != kNone));
    if (!entry.indexed) continue;
    ++indexed;
    leaves += leaf;
    BRAID_CHECK(!leaf || leaves_[entry.leaf_place] == block);
    uint64_t previous_key = entry.origin, seed = entry.origin;
    for (const Entry* up = &entry; !up->root; seed = up->origin) {
      BRAID_CHECK(up->origin < entries_.size() && entries_[up->origin].indexed);
      up = &entries_[up->origin];
    }
    if (entry.root) {
      ++linked;
    } else {
      previous_key = entries_[entry.origin].key;
    }
    BRAID_CHECK(entry.key ==
                PrefixKeys::Next(previous_key, seed, TokensOf(block)));
    BRAID_CHECK(by_key_.Find(entry.key & key_mask_, [&](uint32_t other) {
      return other == block;
    }) == block);
    uint32_t previous = kNone;
    for (uint32_t child = entry.first_child; child != kNone;
         child = entries_[child].next_sibling) {
      BRAID_CHECK(!entries_[child].root && entries_[child].origin == block);
      BRAID_CHECK(entries_[child].previous_sibling == previous);
      BRAID_CHECK(++linked <= entries_.size());
      previous = child;
    }
  }
  BRAID_CHECK(linked == indexed && leaves == leaves_.size());
}

}  // namespace braid
