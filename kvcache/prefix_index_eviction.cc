// The part of PrefixIndex that learns from uses and chooses who leaves.
#include <algorithm>

#include "base/check.h"
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
  use.evicted_uses = 0;
  // Blocks that were evicted since are known too, as far as they are sampled.
  for (uint32_t i = at.blocks; i < keys.size(); ++i) {
    if (!history_.Samples(keys[i])) continue;
    const auto last = history_.Find(keys[i]);
    if (!last) break;
    use.known = i + 1;
    use.evicted_uses = last->uses;
  }
  use.new_tokens = uint64_t{keys.size() - use.known} * block_tokens_;
  use.fresh = use.known == 0;
  if (at.last == kNone || use.known > at.blocks) return;
  const Entry& last = entries_[at.last];
  use.fresh = last.children >= kHubChildren;
  if (use.fresh || last.first_child == kNone || at.blocks == keys.size()) {
    return;
  }
  // Somebody else may just be computing the same continuation.
  const uint32_t next =
      by_key_.Find(keys[at.blocks] & key_mask_, [&](uint32_t block) {
        return ((entries_[block].key ^ keys[at.blocks]) & key_mask_) == 0;
      });
  if (next == kNone) Supersede(last.first_child, last.children);
}

// Block `i` of the table, which is `block`, is used by the table's request.
void PrefixIndex::Use(uint32_t block, uint32_t i, const BlockTable& table) {
  const PrefixUse& use = table.prefix_use_;
  Entry& entry = entries_[block];
  const bool sampled = history_.Samples(entry.key);
  if (entry.uses == 0 && i < use.known) {
    // It was known, and evicted.
    const auto last = sampled ? history_.Find(entry.key) : std::nullopt;
    entry.uses = last ? last->uses : use.evicted_uses;
  }
  entry.uses += entry.uses < 255;
  if (entry.children >= kHubChildren) {
    entry.reuse_class = kHubClass;
  } else if (entry.uses > 1) {
    entry.reuse_class = UsedAgainClass(entry.uses, use.new_tokens);
  } else if (use.fresh) {
    entry.reuse_class = FreshClass(use.new_tokens);
  } else {
    const uint32_t behind = i - std::min(i, use.known);
    entry.reuse_class =
        ContinuedClass(use.new_tokens, uint64_t{behind} * block_tokens_);
  }
  entry.superseded = false;
  entry.last_use = clock_;
  if (sampled) {
    history_.Record(entry.key, {clock_, entry.reuse_class, entry.uses}, model_);
  }
  if (!entry.root) {
    const auto parent = static_cast<uint32_t>(entry.origin);
    if (entries_[parent].first_child != block) {
      UnlinkChild(parent, block);
      LinkChild(parent, block);
    }
  }
}

// The sequence that used `block` last has taken another branch. Marks the path
// that it used: O(1) per use of a block, since a block is marked once per use.
void PrefixIndex::Supersede(uint32_t block, int children) {
  for (; block != kNone && !entries_[block].superseded;
       block = entries_[block].first_child) {
    Entry& entry = entries_[block];
    entry.superseded = true;
    entry.reuse_class = SupersededClass(children);
    entry.last_use = clock_;
    if (history_.Samples(entry.key)) {
      history_.Reclassify(entry.key, {clock_, entry.reuse_class, entry.uses},
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

float PrefixIndex::ScoreOf(uint32_t block) const {
  const Entry& entry = entries_[block];
  return model_.Score(entry.reuse_class, clock_ - entry.last_use);
}

void PrefixIndex::OnCached(BlockId id) {
  if (entries_[id.value()].first_child == kNone) AddLeaf(id.value());
}

void PrefixIndex::OnUncached(BlockId id) {
  if (entries_[id.value()].leaf_place != kNone) RemoveLeaf(id.value());
}

void PrefixIndex::AddLeaf(uint32_t block) {
  entries_[block].leaf_place = static_cast<uint32_t>(leaves_.size());
  leaves_.push_back(block);
}

void PrefixIndex::RemoveLeaf(uint32_t block) {
  const uint32_t place = entries_[block].leaf_place;
  leaves_[place] = leaves_.back();
  entries_[leaves_[place]].leaf_place = place;
  leaves_.pop_back();
  entries_[block].leaf_place = kNone;
}

// Tables and leases give blocks back from the tail, so the oldest cached block
// is a leaf, except when a lease on a descendant outlives the table that held
// them both. That descendant leaves the index then (its bytes stay until the
// lease ends): without its parent nobody could find it.
uint32_t PrefixIndex::OldestLeaf() const {
  uint32_t block = pool_.OldestCached()->value();
  while (entries_[block].first_child != kNone) {
    block = entries_[block].first_child;
  }
  return block;
}

uint32_t PrefixIndex::LeastUsefulLeaf() {
  // Cached blocks above leased ones only.
  if (leaves_.empty()) return OldestLeaf();
  uint32_t best = kNone;
  float lowest = 0;
  const auto consider = [&](uint32_t block) {
    const float score = ScoreOf(block);
    if (best == kNone || score < lowest ||
        (score == lowest && clock_ - entries_[block].last_use >
                                clock_ - entries_[best].last_use)) {
      best = block;
      lowest = score;
    }
  };
  if (leaves_.size() <= eviction_.sample) {
    for (uint32_t block : leaves_) consider(block);
  } else {
    for (uint32_t i = 0; i < eviction_.sample; ++i) {
      consider(leaves_[rng_.Below(leaves_.size())]);
    }
  }
  return best;
}

// Evicts the leaf, and upwards from it what is no different.
void PrefixIndex::EvictFrom(uint32_t leaf, uint32_t free_wanted) {
  for (uint32_t block = leaf;;) {
    const Entry entry = entries_[block];
    if (!entry.root) {
      const Entry& parent = entries_[entry.origin];
      by_key_.Prefetch(parent.key & key_mask_);
      if (!parent.root) __builtin_prefetch(&entries_[parent.origin]);
    }
    Remove(block);
    ++stats_.blocks_evicted;
    if (entry.root || pool_.count(BlockState::kFree) >= free_wanted) return;
    const Entry& parent = entries_[entry.origin];
    if (parent.leaf_place == kNone || parent.reuse_class != entry.reuse_class ||
        parent.last_use != entry.last_use) {
      return;
    }
    block = static_cast<uint32_t>(entry.origin);
  }
}

bool PrefixIndex::MakeRoom(uint32_t n) {
  if (available() < n) return false;
  while (pool_.count(BlockState::kFree) < n) {
    if (eviction_.order == EvictionOrder::kLru) {
      Remove(OldestLeaf());
      ++stats_.blocks_evicted;
    } else {
      EvictFrom(LeastUsefulLeaf(), n);
    }
  }
  return true;
}

}  // namespace braid
