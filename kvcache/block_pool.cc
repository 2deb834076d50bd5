#include "kvcache/block_pool.h"

#include <limits>

#include "base/check.h"
#include "kvcache/block_lease.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"

namespace braid {

const char* ToString(BlockState state) {
  switch (state) {
    case BlockState::kFree:
      return "free";
    case BlockState::kReserved:
      return "reserved";
    case BlockState::kUsed:
      return "used";
    case BlockState::kSending:
      return "sending";
    case BlockState::kCached:
      return "cached";
  }
  CheckFailed(__FILE__, __LINE__, "state", "not a BlockState");
}

BlockPool::BlockPool(PoolId id, uint32_t capacity)
    : id_(id), blocks_(capacity) {
  BRAID_CHECK(capacity < kNone);
  free_.reserve(capacity);
  // Low ids on top: memory is touched from the arena's start, and no page is
  // paid for before the load needs it.
  for (uint32_t i = capacity; i-- > 0;) free_.push_back(BlockId(i));
  counts_[static_cast<size_t>(BlockState::kFree)] = capacity;
}

BlockPool::~BlockPool() {
  BRAID_CHECK_MSG(
      count(BlockState::kFree) + count(BlockState::kCached) == capacity(),
      "a BlockTable or a lease outlives its pool");
}

BlockTable BlockPool::Share(std::span<const BlockId> prefix) {
  BlockTable table(*this);
  table.blocks_.assign(prefix.begin(), prefix.end());
  for (BlockId id : prefix) Retain(id);
  table.used_ = static_cast<uint32_t>(prefix.size());
  return table;
}

bool BlockPool::Reserve(BlockTable& table, uint32_t n) {
  BRAID_CHECK(table.pool_ == this);
  if (n > free_.size()) return false;
  table.blocks_.insert(table.blocks_.end(), free_.rbegin(), free_.rbegin() + n);
  free_.resize(free_.size() - n);
  for (BlockId id : std::span(table.blocks_).last(n)) {
    Block& block = blocks_[id.value()];
    block.holders = 1;
    block.state = BlockState::kReserved;
  }
  Count(BlockState::kFree) -= n;
  Count(BlockState::kReserved) += n;
  return true;
}

SendLease BlockPool::BeginSend(std::span<const BlockId> blocks) {
  for (BlockId id : blocks) {
    Block& block = at(id);
    BRAID_CHECK(block.state == BlockState::kUsed ||
                block.state == BlockState::kSending);
    BRAID_CHECK(block.sends < std::numeric_limits<uint16_t>::max());
    ++block.sends;
    Settle(id.value());
  }
  return SendLease(*this, blocks);
}

ReceiveLease BlockPool::BeginReceive(std::span<const BlockId> blocks) {
  for (BlockId id : blocks) {
    Block& block = at(id);
    BRAID_CHECK(block.state == BlockState::kReserved && !block.receiving);
    block.receiving = true;
  }
  return ReceiveLease(*this, blocks);
}

const BlockPool::Block& BlockPool::at(BlockId id) const {
  BRAID_CHECK(id.value() < blocks_.size());
  return blocks_[id.value()];
}

BlockPool::Block& BlockPool::at(BlockId id) {
  BRAID_CHECK(id.value() < blocks_.size());
  return blocks_[id.value()];
}

void BlockPool::Use(std::span<const BlockId> blocks) {
  for (BlockId id : blocks) {
    Block& block = at(id);
    BRAID_CHECK_MSG(!block.receiving, "used while a transfer writes into it");
    BRAID_CHECK(block.state == BlockState::kReserved);
    block.written = true;
    block.state = BlockState::kUsed;
  }
  Count(BlockState::kReserved) -= static_cast<uint32_t>(blocks.size());
  Count(BlockState::kUsed) += static_cast<uint32_t>(blocks.size());
}

void BlockPool::Retain(BlockId id) {
  Block& block = at(id);
  BRAID_CHECK_MSG(block.written, "only blocks with KV in them are shared");
  ++block.holders;
  Settle(id.value());
}

void BlockPool::Release(BlockId id) {
  Block& block = at(id);
  BRAID_CHECK(block.holders > 0);
  --block.holders;
  Settle(id.value());
}

void BlockPool::ReleaseFromBack(std::span<const BlockId> blocks) {
  for (size_t i = blocks.size(); i-- > 0;) Release(blocks[i]);
}

void BlockPool::EndLease(LeaseKind kind, BlockId id) {
  Block& block = at(id);
  if (kind == LeaseKind::kSend) {
    BRAID_CHECK(block.sends > 0);
    --block.sends;
  } else {
    BRAID_CHECK(block.receiving);
    block.receiving = false;
  }
  Settle(id.value());
}

void BlockPool::SetIndexed(BlockId id) {
  Block& block = at(id);
  BRAID_CHECK(block.holders > 0 && block.written && !block.indexed);
  block.indexed = true;
}

void BlockPool::ClearIndexed(BlockId id) {
  Block& block = at(id);
  BRAID_CHECK(block.indexed);
  block.indexed = false;
  Settle(id.value());
}

std::optional<BlockId> BlockPool::OldestCached() const {
  if (cached_head_ == kNone) return std::nullopt;
  return BlockId(cached_head_);
}

BlockState BlockPool::StateOf(const Block& block) {
  if (block.sends > 0) return BlockState::kSending;
  if (block.receiving) return BlockState::kReserved;
  if (block.holders > 0) {
    return block.written ? BlockState::kUsed : BlockState::kReserved;
  }
  return block.indexed ? BlockState::kCached : BlockState::kFree;
}

void BlockPool::Settle(uint32_t index) {
  const BlockState after = StateOf(blocks_[index]);
  if (blocks_[index].state != after) Enter(index, after);
}

void BlockPool::Enter(uint32_t index, BlockState after) {
  Block& block = blocks_[index];
  const BlockState before = block.state;
  --Count(before);
  ++Count(after);
  block.state = after;
  if (before == BlockState::kCached) {
    UnlinkCached(index);
    index_->OnUncached(BlockId(index));
  }
  if (after == BlockState::kCached) {
    LinkCached(index);
    index_->OnCached(BlockId(index));
  }
  if (after == BlockState::kFree) {
    block.written = false;
    free_.push_back(BlockId(index));
  }
}

void BlockPool::LinkCached(uint32_t index) {
  Block& block = blocks_[index];
  block.previous = cached_tail_;
  block.next = kNone;
  (cached_tail_ == kNone ? cached_head_ : blocks_[cached_tail_].next) = index;
  cached_tail_ = index;
}

void BlockPool::UnlinkCached(uint32_t index) {
  Block& block = blocks_[index];
  (block.previous == kNone ? cached_head_ : blocks_[block.previous].next) =
      block.next;
  (block.next == kNone ? cached_tail_ : blocks_[block.next].previous) =
      block.previous;
  block.previous = block.next = kNone;
}

void BlockPool::CheckInvariants() const {
  std::array<uint32_t, kBlockStateCount> counts{};
  for (const Block& block : blocks_) {
    BRAID_CHECK(block.state == StateOf(block));
    BRAID_CHECK(!block.indexed || block.written);
    BRAID_CHECK(!(block.receiving && block.written));
    BRAID_CHECK(block.written || block.holders <= 1);
    BRAID_CHECK(block.written || block.sends == 0);
    BRAID_CHECK(block.state != BlockState::kFree || !block.written);
    ++counts[static_cast<size_t>(block.state)];
  }
  BRAID_CHECK(counts == counts_);
  std::vector<bool> seen(blocks_.size());
  for (BlockId id : free_) {
    BRAID_CHECK(state(id) == BlockState::kFree && !seen[id.value()]);
    seen[id.value()] = true;
  }
  BRAID_CHECK(free_.size() == count(BlockState::kFree));
  CheckCachedList();
}

void BlockPool::CheckCachedList() const {
  uint32_t length = 0, previous = kNone;
  for (uint32_t i = cached_head_; i != kNone; i = blocks_[i].next) {
    BRAID_CHECK(blocks_[i].state == BlockState::kCached);
    BRAID_CHECK(blocks_[i].previous == previous);
    BRAID_CHECK(++length <= count(BlockState::kCached));
    previous = i;
  }
  BRAID_CHECK(cached_tail_ == previous);
  BRAID_CHECK(length == count(BlockState::kCached));
}

}  // namespace braid
