#include "kvcache/block_lease.h"

#include <utility>

#include "base/check.h"

namespace braid {

template <LeaseKind kind>
BlockLease<kind>::BlockLease(BlockLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      blocks_(std::exchange(other.blocks_, {})) {}

template <LeaseKind kind>
BlockLease<kind>& BlockLease<kind>::operator=(BlockLease&& other) noexcept {
  if (this != &other) {
    Reset();
    pool_ = std::exchange(other.pool_, nullptr);
    blocks_ = std::exchange(other.blocks_, {});
  }
  return *this;
}

template <LeaseKind kind>
void BlockLease<kind>::Merge(BlockLease&& other) {
  if (other.pool_ == nullptr) return;
  if (pool_ == nullptr) {
    *this = std::move(other);
    return;
  }
  BRAID_CHECK(pool_ == other.pool_ && this != &other);
  blocks_.insert(blocks_.end(), other.blocks_.begin(), other.blocks_.end());
  other.blocks_.clear();
  other.pool_ = nullptr;
}

template <LeaseKind kind>
void BlockLease<kind>::Reset() {
  // From the tail, as BlockTable does: leaves of prefix chains are to be
  // evicted before their roots.
  for (size_t i = blocks_.size(); i-- > 0;) pool_->EndLease(kind, blocks_[i]);
  blocks_.clear();
  pool_ = nullptr;
}

template class BlockLease<LeaseKind::kSend>;
template class BlockLease<LeaseKind::kReceive>;

}  // namespace braid
