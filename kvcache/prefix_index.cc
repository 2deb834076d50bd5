#include "kvcache/prefix_index.h"

#include <algorithm>
#include <array>
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

const PrefixIndex::Node PrefixIndex::kNoNode;

PrefixIndex::PrefixIndex(BlockPool& pool, uint32_t block_tokens,
                         const EvictionConfig& eviction, int tag_bits)
    : pool_(pool),
      block_tokens_(block_tokens),
      eviction_(eviction),
      tag_mask_(~uint32_t{0} >> (32 - tag_bits)),
      by_key_(pool.capacity()),
      nodes_(pool.capacity()),
      tokens_(size_t{pool.capacity()} * block_tokens),
      model_(kReuseClasses),
      history_(HistoryFor(eviction, pool.capacity()), pool.capacity(),
               block_tokens, kReuseClasses) {
  BRAID_CHECK(pool.capacity() < (kRoot & kIdMask));
  BRAID_CHECK(block_tokens > 0 && tag_bits > 0 && tag_bits <= 32);
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

// What of the table is in the index, beyond what it published itself. A block
// may be indexed behind another one than it has in the table: after Clear, when
// sequences that share it had different copies of what is before it.
PrefixIndex::Publication PrefixIndex::Begin(const PrefixKeys& keys,
                                            std::span<const TokenId> tokens,
                                            BlockTable& table) const {
  const auto blocks = table.blocks();
  const uint32_t published = table.prefix_use_.published;
  Publication at{
      .seed = keys.seed(),
      .spare = keys.spare(),
      .tokens = tokens,
      .table = table,
      .blocks = published,
      .last = published == 0 ? kRoot : blocks[published - 1].value(),
  };
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(published == 0 || nodes_[at.last].indexed());
  for (; at.blocks < full; ++at.blocks) {
    const uint32_t block = blocks[at.blocks].value();
    if (!Continues(nodes_[block], at.seed, at.last)) break;
    at.last = block;
  }
  return at;
}

uint32_t PrefixIndex::ToPublish(std::span<const TokenId> tokens,
                                BlockTable& table) const {
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(table.pool() == &pool_);
  BRAID_CHECK(full <= table.used());
  PrefixUse& use = table.prefix_use_;
  if (use.clears != clears_) {
    use.clears = clears_;
    use.published = 0;
  }
  return full - std::min(full, use.published);
}

void PrefixIndex::Publish(const PrefixKeys& keys,
                          std::span<const TokenId> tokens, BlockTable& table) {
  BRAID_CHECK(keys.block_tokens() == block_tokens_);
  const uint32_t more = ToPublish(tokens, table);
  if (more == 0) return;
  PrefixUse& use = table.prefix_use_;
  const uint32_t full = use.published + more;
  BRAID_CHECK(full <= keys.size());
  Publication at = Begin(keys, tokens, table);
  if (!keys.spare()) {
    if (use.published == 0) StartUse(keys, at);
    AdvanceClock(more);
  }
  for (uint32_t i = use.published; i < at.blocks; ++i) {
    Use(table.blocks()[i].value(), keys[i], i, use);
  }
  // What somebody else has computed in the meantime.
  for (; at.blocks < full; ++at.blocks) {
    const uint64_t key = keys[at.blocks];
    const uint32_t known =
        Find(TagOf(key), at.seed, at.last, TokensOf(tokens, at.blocks));
    if (known == kNone) break;
    if (known != table.blocks()[at.blocks].value()) {
      table.ReplaceShared(at.blocks, BlockId(known));
    }
    at.last = known;
    Use(known, key, at.blocks, use);
  }
  constexpr uint32_t kAhead = 12;
  for (; at.blocks < full; ++at.blocks) {
    if (at.blocks + kAhead < full) {
      by_key_.Prefetch(TagOf(keys[at.blocks + kAhead]));
    }
    const uint64_t key = keys[at.blocks];
    const uint32_t own = table.blocks()[at.blocks].value();
    Insert(own, key, at);
    at.last = own;
    Use(own, key, at.blocks, use);
  }
  use.published = full;
}

void PrefixIndex::Publish(uint64_t seed, std::span<const TokenId> tokens,
                          BlockTable& table) {
  if (ToPublish(tokens, table) == 0) return;
  PrefixKeys keys(seed, block_tokens_);
  keys.Extend(tokens);
  Publish(keys, tokens, table);
}

void PrefixIndex::Insert(uint32_t block, uint64_t key, const Publication& at) {
  Node& node = nodes_[block];
  node = kNoNode;
  node.tag = TagOf(key);
  node.parent = at.last;
  node.sampled = !at.spare && history_.Samples(key);
  if (at.spare) node.reuse_class = kSpareClass;
  if (node.root()) {
    node.set_seed(at.seed);
  } else {
    LinkChild(at.last, block);
    uint8_t& children = nodes_[at.last].children;
    children += children < 255;
  }
  std::memcpy(&tokens_[size_t{block} * block_tokens_],
              TokensOf(at.tokens, at.blocks).data(),
              block_tokens_ * sizeof(TokenId));
  by_key_.Insert(node.tag, block, WordBehind(node.parent));
  pool_.SetIndexed(BlockId(block));
  ++stats_.blocks_inserted;
}

// Its parent may be a leaf now, and is not listed as one yet.
void PrefixIndex::Remove(uint32_t block) {
  Node& node = nodes_[block];
  BRAID_CHECK(node.indexed() && node.first_child == kNone);
  by_key_.Erase(node.tag, block);
  if (node.leaf_place != kNone) RemoveLeaf(block);
  if (!node.root()) UnlinkChild(node.parent, block);
  node = kNoNode;
  pool_.ClearIndexed(BlockId(block));
}

void PrefixIndex::LinkChild(uint32_t parent, uint32_t child) {
  Node& node = nodes_[child];
  node.previous_sibling = kNone;
  node.next_sibling = nodes_[parent].first_child;
  if (node.next_sibling != kNone) {
    nodes_[node.next_sibling].previous_sibling = child;
  }
  nodes_[parent].first_child = child;
}

void PrefixIndex::UnlinkChild(uint32_t parent, uint32_t child) {
  const Node& node = nodes_[child];
  (node.previous_sibling == kNone
       ? nodes_[parent].first_child
       : nodes_[node.previous_sibling].next_sibling) = node.next_sibling;
  if (node.next_sibling != kNone) {
    nodes_[node.next_sibling].previous_sibling = node.previous_sibling;
  }
}

void PrefixIndex::Clear() {
  ++clears_;
  by_key_.Clear();
  leaves_.clear();
  for (uint32_t block = 0; block < nodes_.size(); ++block) {
    if (!nodes_[block].indexed()) continue;
    nodes_[block] = kNoNode;
    pool_.ClearIndexed(BlockId(block));
  }
}

size_t PrefixIndex::metadata_bytes() const {
  return nodes_.size() * sizeof(Node) + by_key_.bytes() +
         leaves_.capacity() * sizeof(Leaf);
}

void PrefixIndex::CheckInvariants() const {
  struct Place {
    uint32_t block;
    uint64_t previous_key, seed;
  };
  std::vector<Place> places;  // whose children are still to be looked at
  size_t indexed = 0, linked = 0, leaves = 0;
  for (uint32_t block = 0; block < nodes_.size(); ++block) {
    const Node& node = nodes_[block];
    BRAID_CHECK(pool_.at(BlockId(block)).indexed == node.indexed());
    const bool leaf = node.indexed() && node.first_child == kNone &&
                      pool_.state(BlockId(block)) == BlockState::kCached;
    BRAID_CHECK(leaf == (node.leaf_place != kNone));
    if (leaf) {
      const Leaf& listed = leaves_[node.leaf_place];
      BRAID_CHECK(listed.block == block);
      BRAID_CHECK(listed.last_use == node.last_use);
      BRAID_CHECK(listed.reuse_class == node.reuse_class);
    }
    indexed += node.indexed();
    leaves += leaf;
    if (node.root()) places.push_back({block, node.seed(), node.seed()});
  }
  while (!places.empty()) {
    const Place at = places.back();
    places.pop_back();
    BRAID_CHECK(++linked <= indexed);
    const Node& node = nodes_[at.block];
    const uint64_t key =
        PrefixKeys::Next(at.previous_key, at.seed, TokensOf(at.block));
    BRAID_CHECK(node.tag == TagOf(key));
    BRAID_CHECK(node.sampled ==
                (node.reuse_class != kSpareClass && history_.Samples(key)));
    BRAID_CHECK(
        by_key_.Find(node.tag, WordBehind(node.parent), [&](uint32_t other) {
          return other == at.block;
        }) == at.block);
    uint32_t previous = kNone;
    for (uint32_t child = node.first_child; child != kNone;
         child = nodes_[child].next_sibling) {
      BRAID_CHECK(nodes_[child].parent == at.block);
      BRAID_CHECK(nodes_[child].previous_sibling == previous);
      places.push_back({child, key, at.seed});
      previous = child;
    }
  }
  BRAID_CHECK(linked == indexed && leaves == leaves_.size());
}

}  // namespace braid
