// The blocks of one sequence, in order of position: the only way to hold KV
// memory. Move-only; the destructor gives every block back.
//
//   [ shared with others | own, written | reserved, still empty ]
//   └──────────── used() ───────────────┘└──── reserved() ──────┘
//
// Thread safety: engine thread only. The ids may be read by a runner or a
// transport while the engine keeps the table alive.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace braid {

class BlockPool;

class BlockTable final {
 public:
  BlockTable() = default;  // Holds nothing, belongs to no pool.
  explicit BlockTable(BlockPool& pool) : pool_(&pool) {}
  ~BlockTable() { Clear(); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;

  BlockPool* pool() const { return pool_; }
  // All blocks, used first.
  std::span<const BlockId> blocks() const { return blocks_; }
  uint32_t used() const { return used_; }
  uint32_t reserved() const {
    return static_cast<uint32_t>(blocks_.size()) - used_;
  }

  // Turns reserved blocks into used ones until `n` are used in all.
  // REQUIRES: n <= blocks().size().
  void UseUpTo(uint32_t n);

  // Replaces used block `index` by another block with equal content, that is
  // already in use or cached (two requests computed the same prefix).
  void ReplaceShared(uint32_t index, BlockId same_content);

  // Gives back everything behind the first `n` blocks.
  void Truncate(uint32_t n);
  void Clear() { Truncate(0); }

 private:
  friend class BlockPool;
  BlockPool* pool_ = nullptr;
  std::vector<BlockId> blocks_;
  uint32_t used_ = 0;
};

// Blocks that a transfer reads. They stay `sending`, whatever their tables do,
// until the lease is destroyed after the transfer's terminal event: cancelling
// a request can never free memory that a copy still reads.
class SendLease final {
 public:
  SendLease() = default;
  ~SendLease() { Reset(); }
  SendLease(SendLease&& other) noexcept;
  SendLease& operator=(SendLease&& other) noexcept;
  void Reset();
  std::span<const BlockId> blocks() const { return blocks_; }

 private:
  friend class BlockPool;
  BlockPool* pool_ = nullptr;
  std::vector<BlockId> blocks_;
};

}  // namespace braid
