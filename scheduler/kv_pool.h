// The blocks of one memory, the prefixes that are known in it, and which of the
// blocks give way: those of elastic streams and of best-of-n's candidates,
// which live on what nobody else wants, and go when somebody does.
//
// Elastic blocks have no other holders, ever: the prefixes of streams have
// seeds of their own, and what candidates share with their requests is not
// counted. So a request may count on them as on free ones.
//
// Thread safety: not thread-safe; engine thread only.
// Invariant: elastic() is the number of blocks with elastic holders.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "kvcache/prefix_keys.h"

namespace braid {

class KvPool final {
 public:
  KvPool(PoolId id, uint32_t capacity, uint32_t block_tokens);

  PoolId id() const { return blocks_.id(); }
  BlockPool& blocks() { return blocks_; }
  const BlockPool& blocks() const { return blocks_; }
  PrefixIndex& index() { return index_; }
  const PrefixIndex& index() const { return index_; }

  // Blocks that anything elastic holds.
  uint32_t elastic() const { return elastic_; }
  // Free, cached or elastic: what a request may count on.
  uint32_t available() const { return index_.available() + elastic_; }
  // What more may be elastic, where waiting requests will take `promised`.
  uint32_t RoomForElastic(uint64_t promised) const;
  // Of those blocks, the ones that are free when one elastic holder gives them
  // back.
  uint32_t CountFreedBy(std::span<const BlockId> blocks) const;

  // Adds `n` blocks to the table. REQUIRES: index().available() >= n.
  void Take(BlockTable& table, uint32_t n);

  // One elastic holder more, or fewer, of each of them.
  void Hold(std::span<const BlockId> blocks);
  void Release(std::span<const BlockId> blocks);
  // Takes what an elastic table lacks of `needed` blocks, and uses all of them.
  // Returns how many it took. REQUIRES: there is room.
  uint32_t Grow(BlockTable& table, uint32_t needed);
  // PrefixIndex::Publish of an elastic table: where an equal block is known, it
  // holds that one.
  void PublishElastic(const PrefixKeys& keys, std::span<const TokenId> computed,
                      BlockTable& table);

  // CHECKs the books against `holders`, by block, as counted by the caller.
  void CheckElastic(std::span<const uint32_t> holders) const;

 private:
  BlockPool blocks_;
  PrefixIndex index_;
  std::vector<uint32_t> elastic_holders_;  // by block
  uint32_t elastic_ = 0;                   // blocks that have any
  std::vector<BlockId> before_;            // scratch of PublishElastic
};

}  // namespace braid
