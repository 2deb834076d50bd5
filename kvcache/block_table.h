// The blocks of one sequence, in order of position: the only way to hold KV
// memory. Move-only; the destructor gives every block back.
//
//   [ shared with others | own, written | reserved, still empty ]
//   └──────────── used() ───────────────┘└──── reserved() ──────┘
//
// Thread safety: engine thread only. A runner may read the ids while a step is
// in flight: the engine then keeps the table alive and unchanged. A transfer is
// guarded by its leases (block_lease.h) instead, and the table may go.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kvcache/block_lease.h"  // IWYU pragma: export

namespace braid {

// What PrefixIndex knows of the request that a table belongs to.
struct PrefixUse {
  uint32_t published = 0;   // blocks that are in the index, their use counted
  uint32_t clears = 0;      // of the index, when it published last
  uint32_t known = 0;       // blocks that some request had used before
  uint64_t new_tokens = 0;  // of the prompt, behind those
  bool fresh = false;       // continues nobody's sequence
  uint8_t known_uses = 0;   // of the last known block, before this one
};

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

  // It will hold so many: growing to that allocates nothing.
  void Expect(uint32_t blocks) { blocks_.reserve(blocks); }

  // Turns reserved blocks into used ones until `n` are used in all; fewer than
  // are used already changes nothing.
  // REQUIRES: n <= blocks().size(); no ReceiveLease is on them any more.
  void UseUpTo(uint32_t n);

  // Replaces used block `index` by another block with equal content, that is
  // already in use or cached (two requests computed the same prefix). The own
  // copy is given back; a SendLease on it keeps it until the transfer ends.
  // REQUIRES: no step in flight reads or writes the own copy.
  void ReplaceShared(uint32_t index, BlockId same_content);

  // Gives back everything behind the first `n` blocks, the last one first, so
  // that of blocks which stay cached the leaves are older than their roots.
  void Truncate(uint32_t n);
  void Clear() { Truncate(0); }

 private:
  friend class BlockPool;
  friend class PrefixIndex;
  BlockPool* pool_ = nullptr;
  std::vector<BlockId> blocks_;
  uint32_t used_ = 0;
  PrefixUse prefix_use_;
};

}  // namespace braid
