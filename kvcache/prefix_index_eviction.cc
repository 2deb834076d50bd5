// The part of PrefixIndex that learns from uses and chooses who leaves.
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/rng.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "kvcache/reuse_class.h"

namespace braid {
namespace {

// In blocks used. A refit takes some 20 us.
constexpr uint32_t kShortestRefit = 512;

}  // namespace

// The request behind `at.table` shows itself for the first time.
void PrefixIndex::StartUse(const PrefixKeys& keys, const Publication& at) {
  PrefixUse& use = at.table.prefix_use_;
  use.known = at.blocks;
  use.known_uses = at.last == kRoot ? 0 : nodes_[at.last].uses;
  // Blocks that were evicted since are known too, as far as they are sampled.
  for (uint32_t i = at.blocks; i < keys.size(); ++i) {
    if (!history_.Samples(keys[i])) continue;
    const auto last = history_.Find(TagOf(keys[i]));
    if (!last) break;
    use.known = i + 1;
    use.known_uses = last->uses;
  }
  use.new_tokens = uint64_t{keys.size() - use.known} * block_tokens_;
  use.fresh = use.known == 0;
  if (at.last == kRoot || use.known > at.blocks) return;
  const Node& last = nodes_[at.last];
  use.fresh = last.children >= kHubChildren;
  if (use.fresh || last.first_child == kNone || at.blocks == keys.size()) {
    return;
  }
  // Somebody else may just be computing the same continuation.
  const uint32_t next =
      by_key_.Find(TagOf(keys[at.blocks]), WordBehind(at.last),
                   [](uint32_t) { return true; });
  if (next == kNone) Supersede(last.first_child, last.children);
}

// `block`, block `i` of a table, is used by the table's request.
void PrefixIndex::Use(uint32_t block, uint64_t key, uint32_t i,
                      const PrefixUse& use) {
  Node& node = nodes_[block];
  if (node.reuse_class == kSpareClass) {
    node.last_use = clock_;
    return;
  }
  if (node.uses == 0 && i < use.known) {
    // It was known, and evicted.
    const auto last = node.sampled ? history_.Find(TagOf(key)) : std::nullopt;
    node.uses = last ? last->uses : use.known_uses;
  }
  node.uses += node.uses < 255;
  if (node.children >= kHubChildren) {
    node.reuse_class = kHubClass;
  } else if (node.uses > 1) {
    node.reuse_class = UsedAgainClass(node.uses, use.new_tokens);
  } else if (use.fresh) {
    node.reuse_class = FreshClass(use.new_tokens);
  } else {
    const uint32_t behind = i - std::min(i, use.known);
    node.reuse_class = ContinuedClass(use.known_uses, use.new_tokens,
                                      uint64_t{behind} * block_tokens_);
  }
  node.superseded = false;
  node.last_use = clock_;
  if (node.sampled) {
    history_.Record(node.tag, {clock_, node.reuse_class, node.uses}, model_);
  }
  if (!node.root() && nodes_[node.parent].first_child != block) {
    UnlinkChild(node.parent, block);
    LinkChild(node.parent, block);
  }
}

// The sequence that used `block` last has taken another branch. Marks the path
// that it used: O(1) per use of a block, since a block is marked once per use.
void PrefixIndex::Supersede(uint32_t block, int children) {
  for (; block != kNone && !nodes_[block].superseded;
       block = nodes_[block].first_child) {
    Node& node = nodes_[block];
    node.superseded = true;
    node.reuse_class = SupersededClass(children);
    node.last_use = clock_;
    if (node.leaf_place != kNone) {
      leaves_[node.leaf_place] = {block, clock_, node.reuse_class};
    }
    if (node.sampled) {
      history_.Reclassify(node.tag, {clock_, node.reuse_class, node.uses},
                          model_);
    }
  }
}

void PrefixIndex::AdvanceClock(uint32_t blocks) {
  clock_ += blocks;
  const uint32_t period = std::max(pool_.capacity() / 16, kShortestRefit);
  if (clock_ - refitted_ < period) return;
  refitted_ = clock_;
  history_.AddWaiting(clock_, model_);
  model_.Refit();
}

float PrefixIndex::ScoreOf(ReuseClass of, uint32_t last_use) const {
  return of == kSpareClass ? -1 : model_.Score(of, clock_ - last_use);
}

void PrefixIndex::OnCached(BlockId id) {
  if (nodes_[id.value()].first_child == kNone) AddLeaf(id.value());
}

void PrefixIndex::OnUncached(BlockId id) {
  if (nodes_[id.value()].leaf_place != kNone) RemoveLeaf(id.value());
}

void PrefixIndex::AddLeaf(uint32_t block) {
  Node& node = nodes_[block];
  node.leaf_place = static_cast<uint32_t>(leaves_.size());
  leaves_.push_back({block, node.last_use, node.reuse_class});
}

void PrefixIndex::RemoveLeaf(uint32_t block) {
  const uint32_t place = nodes_[block].leaf_place;
  leaves_[place] = leaves_.back();
  nodes_[leaves_[place].block].leaf_place = place;
  leaves_.pop_back();
  nodes_[block].leaf_place = kNone;
}

// Tables and leases give blocks back from the tail, so the oldest cached block
// is a leaf, except when a lease on a descendant outlives the table that held
// them both. That descendant leaves the index then (its bytes stay until the
// lease ends): without its parent nobody could find it.
uint32_t PrefixIndex::OldestLeaf() const {
  uint32_t block = pool_.OldestCached()->value();
  while (nodes_[block].first_child != kNone) {
    block = nodes_[block].first_child;
  }
  return block;
}

PrefixIndex::Victim PrefixIndex::LeastUsefulLeaf() {
  // Cached blocks above leased ones only.
  if (leaves_.empty()) return {.leaf = OldestLeaf()};
  // Every k-th leaf, from a random one on: as good as drawing each, for one
  // draw. With few leaves, all of them.
  const uint64_t size = leaves_.size();
  const uint64_t sample = std::min<uint64_t>(size, eviction_.sample);
  const uint64_t step = (size << 16) / sample;
  uint64_t at = (Philox(eviction_.seed, draws_++)[0] * step) >> 32;
  const Leaf* best = nullptr;
  float lowest = 0, second = std::numeric_limits<float>::infinity();
  for (uint64_t i = 0; i < sample; ++i, at += step) {
    const Leaf& leaf = leaves_[at >> 16];
    const uint32_t age = clock_ - leaf.last_use;
    const float score = ScoreOf(leaf.reuse_class, leaf.last_use);
    if (best == nullptr || score < lowest ||
        (score == lowest && age > clock_ - best->last_use)) {
      second = best == nullptr ? second : lowest;
      best = &leaf;
      lowest = score;
    } else if (score < second) {
      second = score;
    }
  }
  return {.leaf = best->block, .next_score = second};
}

// Evicts a leaf. What is above it, if that is a leaf now, which is not listed
// yet; or kNone.
uint32_t PrefixIndex::Evict(uint32_t leaf) {
  const uint32_t above = nodes_[leaf].parent;
  Remove(leaf);
  ++stats_.blocks_evicted;
  if (above == kRoot || nodes_[above].first_child != kNone ||
      pool_.state(BlockId(above)) != BlockState::kCached) {
    return kNone;
  }
  return above;
}

// Evicts the leaf, and upwards from it what is no different, or would be the
// next victim.
void PrefixIndex::EvictFrom(Victim victim, uint32_t free_wanted) {
  const uint32_t last_use = nodes_[victim.leaf].last_use;
  const ReuseClass reuse_class = nodes_[victim.leaf].reuse_class;
  // The bucket of a block is asked for well before the block's turn comes.
  constexpr int kAhead = 8;
  uint32_t ahead = victim.leaf;
  const auto look_ahead = [&] {
    if (ahead != kRoot) ahead = nodes_[ahead].parent;
    if (ahead != kRoot) by_key_.Prefetch(nodes_[ahead].tag);
  };
  for (int i = 1; i < kAhead; ++i) look_ahead();
  for (uint32_t block = victim.leaf;;) {
    look_ahead();
    block = Evict(block);
    if (block == kNone) return;
    const Node& node = nodes_[block];
    const bool alike =
        node.reuse_class == reuse_class && node.last_use == last_use;
    if (pool_.count(BlockState::kFree) >= free_wanted ||
        (!alike &&
         ScoreOf(node.reuse_class, node.last_use) >= victim.next_score)) {
      return AddLeaf(block);
    }
  }
}

bool PrefixIndex::MakeRoom(uint32_t n) {
  if (available() < n) return false;
  while (pool_.count(BlockState::kFree) < n) {
    if (eviction_.order == EvictionOrder::kExpectedReuse) {
      EvictFrom(LeastUsefulLeaf(), n);
    } else if (const uint32_t leaf = Evict(OldestLeaf()); leaf != kNone) {
      AddLeaf(leaf);
    }
  }
  return true;
}

}  // namespace braid
