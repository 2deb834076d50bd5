// The metadata of one memory's KV blocks: who holds each, and in which state it
// is. Deals in ids; a KvArena owns the bytes.
//
// Thread safety: not thread-safe; lives on the engine thread.
//
// Every block is in exactly one state, so the five counts always sum to the
// capacity:
//
//        Reserve            Use              last holder gone
//   free ───────► reserved ─────► used ──────────────┬──────────► free
//    ▲                             ▲ │ SendLease     │ if indexed
//    │ Evict                       │ ▼               ▼
//    └───────────── cached ◄───────┴ sending ────► cached
//                     └── Share (prefix hit) ──► used
//
//   free      nobody holds it, nothing of value is in it
//   reserved  one BlockTable holds it or a transfer writes into it, nothing of
//             value is in it yet
//   used      held by one or more BlockTables, KV is being written or read
//   sending   a transfer reads it, whether or not a BlockTable still holds it
//   cached    nobody holds it, but PrefixIndex can still find it
//
// Only BlockTable, SendLease and ReceiveLease hold blocks; their destructors
// give them back. A leak is therefore a bug of a destructor, never of a caller.
// A lease outlives its table where it must: a cancelled request drops its table
// at once, and what a copy still reads stays `sending`, what a copy still
// writes stays `reserved`, until the lease ends with the transfer.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kvcache/huge_vector.h"

namespace braid {

enum class BlockState : uint8_t { kFree, kReserved, kUsed, kSending, kCached };
inline constexpr int kBlockStateCount = 5;
const char* ToString(BlockState state);

enum class LeaseKind : uint8_t { kSend, kReceive };
template <LeaseKind kind>
class BlockLease;
using SendLease = BlockLease<LeaseKind::kSend>;
using ReceiveLease = BlockLease<LeaseKind::kReceive>;

class BlockTable;
class PrefixIndex;

class BlockPool final {
 public:
  BlockPool(PoolId id, uint32_t capacity);
  ~BlockPool();  // CHECKs that nobody holds a block any more.
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  PoolId id() const { return id_; }
  uint32_t capacity() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t count(BlockState state) const {
    return counts_[static_cast<size_t>(state)];
  }
  BlockState state(BlockId id) const { return at(id).state; }

  // An empty table that shares the given blocks (a prefix hit), in order.
  // REQUIRES: each is used, sending or cached.
  BlockTable Share(std::span<const BlockId> prefix);

  // Adds `n` reserved blocks to the table's tail. All or nothing: false when
  // fewer than `n` are free (see PrefixIndex::MakeRoom), and nothing changed.
  [[nodiscard]] bool Reserve(BlockTable& table, uint32_t n);

  // Keeps the blocks alive while a transfer reads them. REQUIRES: all used or
  // sending.
  SendLease BeginSend(std::span<const BlockId> blocks);

  // Keeps the blocks from being given to anybody else while a transfer may
  // write into them. REQUIRES: all reserved, none of them being received into.
  // They may be used (BlockTable::UseUpTo) only after the lease has ended.
  ReceiveLease BeginReceive(std::span<const BlockId> blocks);

  // Recounts everything and CHECKs it. O(capacity).
  void CheckInvariants() const;

 private:
  friend class BlockTable;
  friend SendLease;
  friend ReceiveLease;
  friend class PrefixIndex;

  static constexpr uint32_t kNone = ~uint32_t{0};

  struct Block {
    uint32_t holders = 0;        // BlockTables
    uint16_t sends = 0;          // SendLeases
    bool receiving : 1 = false;  // a ReceiveLease
    bool written : 1 = false;    // has been used since it was last free
    bool indexed : 1 = false;    // PrefixIndex can find it
    BlockState state = BlockState::kFree;
    // Links of the list of cached blocks, least recently released first.
    uint32_t previous = kNone, next = kNone;
  };
  static_assert(sizeof(Block) == 16);

  const Block& at(BlockId id) const;
  Block& at(BlockId id);
  uint32_t& Count(BlockState state) {
    return counts_[static_cast<size_t>(state)];
  }

  void Use(std::span<const BlockId> blocks);  // reserved -> used
  void Retain(BlockId id);                    // one more table
  void Release(BlockId id);                   // one table fewer
  // One table fewer for each, the last one first.
  void ReleaseFromBack(std::span<const BlockId> blocks);
  void EndLease(LeaseKind kind, BlockId id);
  // REQUIRES: used, and not indexed.
  void SetIndexed(BlockId id);
  // REQUIRES: indexed; PrefixIndex has forgotten it.
  void ClearIndexed(BlockId id);
  std::optional<BlockId> OldestCached() const;

  // What a block's holders say its state is.
  static BlockState StateOf(const Block& block);
  void Settle(uint32_t index);  // recomputes the state after a change
  void Enter(uint32_t index, BlockState after);
  void LinkCached(uint32_t index);
  void UnlinkCached(uint32_t index);
  void CheckCachedList() const;

  PoolId id_;
  HugeVector<Block> blocks_;
  std::vector<BlockId> free_;  // a stack: warm memory is handed out first
  std::array<uint32_t, kBlockStateCount> counts_{};
  uint32_t cached_head_ = kNone, cached_tail_ = kNone;
  PrefixIndex* index_ = nullptr;  // told what becomes cached and ceases to be
};

}  // namespace braid
