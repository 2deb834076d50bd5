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
//   reserved  one BlockTable holds it, nothing of value is in it yet
//   used      held by one or more BlockTables, KV is being written or read
//   sending   used, and a transfer reads it as well
//   cached    nobody holds it, but PrefixIndex can still find it
//
// Only BlockTable and SendLease hold blocks; their destructors give them back.
// A leak is therefore a bug of a destructor, never of a caller.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace braid {

enum class BlockState : uint8_t { kFree, kReserved, kUsed, kSending, kCached };
inline constexpr int kBlockStateCount = 5;
const char* ToString(BlockState state);

class BlockTable;
class SendLease;
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
  BlockState state(BlockId id) const;

  // An empty table that shares the given blocks (a prefix hit), in order.
  // REQUIRES: each is used, sending or cached.
  BlockTable Share(std::span<const BlockId> prefix);

  // Adds `n` reserved blocks to the table's tail. All or nothing: false when
  // fewer than `n` are free (see PrefixIndex::MakeRoom), and nothing changed.
  [[nodiscard]] bool Reserve(BlockTable& table, uint32_t n);

  // Keeps the blocks alive while a transfer reads them. REQUIRES: all used or
  // sending.
  SendLease BeginSend(std::span<const BlockId> blocks);

  // Recounts everything and CHECKs it. O(capacity).
  void CheckInvariants() const;

 private:
  friend class BlockTable;
  friend class SendLease;
  friend class PrefixIndex;

  struct Block {
    uint32_t holders = 0;  // BlockTables
    uint16_t sends = 0;    // SendLeases
    bool indexed = false;  // PrefixIndex can find it
    BlockState state = BlockState::kFree;
    // Links of the list of cached blocks, least recently released first.
    uint32_t previous = 0, next = 0;
  };

  void Use(BlockId id);      // reserved -> used
  void Retain(BlockId id);   // one more table
  void Release(BlockId id);  // one table fewer
  void EndSend(BlockId id);
  void SetIndexed(BlockId id, bool indexed);
  std::optional<BlockId> OldestCached() const;
  void Settle(BlockId id);  // recomputes the state after a change

  PoolId id_;
  std::vector<Block> blocks_;
  std::vector<BlockId> free_;
  std::array<uint32_t, kBlockStateCount> counts_{};
  uint32_t cached_head_, cached_tail_;
};

}  // namespace braid
