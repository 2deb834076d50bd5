#include "scheduler/kv_pool.h"

#include <algorithm>

#include "base/check.h"

namespace braid {
namespace {

// Of a pool, that may be elastic; and up to which cached prefixes are evicted
// for it.
constexpr double kMostShare = 0.5, kEvictingShare = 0.25;

}  // namespace

KvPool::KvPool(PoolId id, uint32_t capacity, uint32_t block_tokens)
    : blocks_(id, capacity),
      index_(blocks_, block_tokens),
      elastic_holders_(capacity) {}

uint32_t KvPool::RoomForElastic(uint64_t promised) const {
  const auto up_to = [&](double share) {
    const auto most = static_cast<uint32_t>(share * blocks_.capacity());
    return most - std::min(most, elastic_);
  };
  return std::min({index_.available() - static_cast<uint32_t>(promised),
                   blocks_.count(BlockState::kFree) + up_to(kEvictingShare),
                   up_to(kMostShare)});
}

uint32_t KvPool::CountFreedBy(std::span<const BlockId> blocks) const {
  return static_cast<uint32_t>(std::ranges::count_if(
      blocks,
      [&](BlockId block) { return elastic_holders_[block.value()] == 1; }));
}

void KvPool::Take(BlockTable& table, uint32_t n) {
  BRAID_CHECK(index_.MakeRoom(n));
  BRAID_CHECK(blocks_.Reserve(table, n));
}

void KvPool::Hold(std::span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    elastic_ += elastic_holders_[block.value()]++ == 0;
  }
}

void KvPool::Release(std::span<const BlockId> blocks) {
  for (BlockId block : blocks) {
    BRAID_CHECK(elastic_holders_[block.value()] > 0);
    elastic_ -= --elastic_holders_[block.value()] == 0;
  }
}

uint32_t KvPool::Grow(BlockTable& table, uint32_t needed) {
  const auto held = static_cast<uint32_t>(table.blocks().size());
  const uint32_t taken = needed - std::min(needed, held);
  if (taken > 0) {
    Take(table, taken);
    Hold(table.blocks().subspan(held));
  }
  table.UseUpTo(needed);
  return taken;
}

void KvPool::PublishElastic(const PrefixKeys& keys,
                            std::span<const TokenId> computed,
                            BlockTable& table) {
  before_.assign(table.blocks().begin(), table.blocks().end());
  index_.Publish(keys, computed, table);
  // Publishing changes what the table holds, never how much.
  for (size_t i = 0; i < before_.size(); ++i) {
    const BlockId now = table.blocks()[i];
    if (now == before_[i]) continue;
    Release(std::span(&before_[i], 1));
    Hold(std::span(&now, 1));
  }
}

void KvPool::CheckElastic(std::span<const uint32_t> holders) const {
  BRAID_CHECK(std::ranges::equal(holders, elastic_holders_));
  BRAID_CHECK(elastic_ == holders.size() - static_cast<size_t>(
                                               std::ranges::count(holders, 0)));
}

}  // namespace braid
