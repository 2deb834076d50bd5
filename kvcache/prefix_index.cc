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
  BRAID_CHECK(pool.capacity() < kRoot);
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

template <typename Visit>
void PrefixIndex::ForEachMatch(const PrefixKeys& keys,
                               std::span<const TokenId> tokens,
                               Visit visit) const {
  BRAID_CHECK(keys.block_tokens() == block_tokens_);
  const auto full = static_cast<uint32_t>(tokens.size() / block_tokens_);
  BRAID_CHECK(full <= keys.size());
  constexpr uint32_t kShortRun = 4;
  Walk walk{.keys = keys, .tokens = tokens, .end = full};
  while (walk.at < full) {
    const uint32_t block = Find(TagOf(keys[walk.at]), keys.seed(), walk.last,
                                TokensOf(tokens, walk.at));
    if (block == kNone) return;
    walk.last = block;
    ++walk.at;
    visit(block);
    if (FollowRun(walk, visit) < kShortRun && !FollowKeys(walk, visit)) return;
  }
}

bool PrefixIndex::Advance(Walk& walk, uint32_t block) const {
  if (!Holds(block, walk.keys.seed(), walk.last,
             TokensOf(walk.tokens, walk.at))) {
    return false;
  }
  walk.last = block;
  ++walk.at;
  return true;
}

// Blocks of a sequence were taken from the pool together, and in an aged pool
// too most of them lie one behind the other: there they need not be searched.
template <typename Visit>
uint32_t PrefixIndex::FollowRun(Walk& walk, Visit visit) const {
  constexpr uint32_t kAhead = 12;
  const auto last_block = static_cast<uint32_t>(nodes_.size() - 1);
  const uint32_t begin = walk.at;
  const uint32_t most = std::min(walk.end - walk.at, last_block - walk.last);
  for (uint32_t i = 1; i <= std::min(most, kAhead); ++i) {
    PrefetchBlock(walk.last + i);
  }
  while (walk.at - begin < most) {
    PrefetchBlock(std::min(walk.last + kAhead, last_block));
    if (!Advance(walk, walk.last + 1)) break;
    visit(walk.last);
  }
  return walk.at - begin;
}

// The general case, for some blocks. All keys are known, so memory is asked for
// well before it is needed: first the bucket of the table, then what that
// names. False: nothing is known behind here.
template <typename Visit>
bool PrefixIndex::FollowKeys(Walk& walk, Visit visit) const {
  constexpr uint32_t kBlocks = 256, kBucketAhead = 32, kNodeAhead = 16;
  const PrefixKeys& keys = walk.keys;
  const uint32_t begin = walk.at;
  const uint32_t end = begin + std::min(kBlocks, walk.end - begin);
  std::array<uint32_t, kNodeAhead> candidates;  // of block i at i % kNodeAhead
  const auto look_ahead = [&](uint32_t i) {
    const uint32_t block = by_key_.Candidate(TagOf(keys[i]));
    candidates[i % kNodeAhead] = block;
    if (block != kNone) PrefetchBlock(block);
  };
  for (uint32_t i = begin; i < std::min(end, begin + kBucketAhead); ++i) {
    by_key_.Prefetch(TagOf(keys[i]));
  }
  for (uint32_t i = begin; i < std::min(end, begin + kNodeAhead); ++i) {
    look_ahead(i);
  }
  while (walk.at < end) {
    const uint32_t i = walk.at;
    const uint32_t candidate = candidates[i % kNodeAhead];
    if (i + kBucketAhead < end) {
      by_key_.Prefetch(TagOf(keys[i + kBucketAhead]));
    }
    if (i + kNodeAhead < end) look_ahead(i + kNodeAhead);
    if (candidate == kNone || !Advance(walk, candidate)) {
      // It did not find room in its bucket, or another one has its tag.
      const uint32_t block = Find(TagOf(keys[i]), keys.seed(), walk.last,
                                  TokensOf(walk.tokens, i));
      if (block == kNone) return false;
      walk.last = block;
      ++walk.at;
    }
    visit(walk.last);
  }
  return true;
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

bool PrefixIndex::Holds(uint32_t block, uint64_t seed, uint32_t parent,
                        std::span<const TokenId> tokens) const {
  return Continues(nodes_[block], seed, parent) &&
         std::memcmp(TokensOf(block).data(), tokens.data(),
                     tokens.size_bytes()) == 0;
}

uint32_t PrefixIndex::Find(uint32_t tag, uint64_t seed, uint32_t parent,
                           std::span<const TokenId> tokens) const {
  return by_key_.Find(
      tag, [&](uint32_t block) { return Holds(block, seed, parent, tokens); });
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
  by_key_.Insert(node.tag, block);
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
    BRAID_CHECK(by_key_.Find(node.tag, [&](uint32_t other) {
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
