#include "kvcache/block_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kvcache/block_pool.h"

namespace braid {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      blocks_(std::exchange(other.blocks_, {})),
      used_(std::exchange(other.used_, 0)),
      prefix_use_(std::exchange(other.prefix_use_, {})) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this != &other) {
    Clear();
    pool_ = std::exchange(other.pool_, nullptr);
    blocks_ = std::exchange(other.blocks_, {});
    used_ = std::exchange(other.used_, 0);
    prefix_use_ = std::exchange(other.prefix_use_, {});
  }
  return *this;
}

void BlockTable::UseUpTo(uint32_t n) {
  BRAID_CHECK(n <= blocks_.size());
  if (n <= used_) return;
  pool_->Use(blocks().subspan(used_, n - used_));
  used_ = n;
}

void BlockTable::ReplaceShared(uint32_t index, BlockId same_content) {
  BRAID_CHECK(index < used_);
  pool_->Retain(same_content);
  pool_->Release(std::exchange(blocks_[index], same_content));
}

void BlockTable::Truncate(uint32_t n) {
  if (n < blocks_.size()) {
    pool_->ReleaseFromBack(blocks().subspan(n));
    blocks_.resize(n);
  }
  used_ = std::min(used_, n);
  prefix_use_.published = std::min(prefix_use_.published, n);
}

}  // namespace braid
