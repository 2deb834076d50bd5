// Blocks that a transfer is at work on. The lease is ended (destroyed or Reset)
// after the transfer's terminal event and not before; until then the blocks go
// to nobody else, whatever happens to their tables:
//
//   SendLease     a copy may still read them: they are `sending`
//   ReceiveLease  a copy may still write into them: they are `reserved`
//
// So cancelling a request in the middle of a hand-over is only: drop its table,
// Cancel the transfer, keep the lease until the event.
//
// A transfer names its source blocks when it is opened. PrefixIndex::Publish
// may later exchange such a block of the table for an equal one, so the
// SendLease is taken before the step that filled the block is committed.
//
// Thread safety: engine thread only.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "kvcache/block_pool.h"

namespace braid {

template <LeaseKind kind>
class BlockLease final {
 public:
  BlockLease() = default;  // Holds nothing, belongs to no pool.
  ~BlockLease() { Reset(); }
  BlockLease(BlockLease&& other) noexcept;
  BlockLease& operator=(BlockLease&& other) noexcept;

  std::span<const BlockId> blocks() const { return blocks_; }

  // Takes over what another lease on the same pool holds: a transfer whose
  // source blocks are filled chunk by chunk leases each chunk as it is posted.
  void Merge(BlockLease&& other);

  void Reset();

 private:
  friend class BlockPool;
  BlockLease(BlockPool& pool, std::span<const BlockId> blocks)
      : pool_(&pool), blocks_(blocks.begin(), blocks.end()) {}

  BlockPool* pool_ = nullptr;
  std::vector<BlockId> blocks_;
};

extern template class BlockLease<LeaseKind::kSend>;
extern template class BlockLease<LeaseKind::kReceive>;

}  // namespace braid
