// The bytes behind a BlockPool: one mapping, huge pages where the system grants
// them, untouched (and so unpaid for) until a block is first written, or what
// Populate is told.
//
// Thread safety: the object is immutable; who may touch which block's bytes is
// decided by the holders of blocks (BlockTable, SendLease).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/huge_memory.h"
#include "base/ids.h"
#include "kvcache/kv_layout.h"

namespace braid {

class KvArena final {
 public:
  // Maps memory for `capacity` blocks. RESOURCE_EXHAUSTED, naming
  // --kv-memory, when the system refuses.
  static absl::StatusOr<std::unique_ptr<KvArena>> Create(const KvLayout& layout,
                                                         uint32_t capacity);

  // Has the system provide the memory of the first `bytes` at once, until the
  // clock says `until`: where it is left to the step that first writes a block,
  // that step waits for it. On a virtual machine whose host has to find the
  // memory, too, prompts took a tenth longer until all had been used.
  void Populate(size_t bytes, const Clock& clock, TimePoint until) const;

  const KvLayout& layout() const { return layout_; }
  uint32_t capacity() const { return capacity_; }

  std::byte* block(BlockId id) const {
    return memory_.data() + id.value() * layout_.block_bytes();
  }
  // Layers [begin, end) of a block, contiguous.
  std::span<std::byte> layers(BlockId id, uint32_t begin, uint32_t end) const {
    return {block(id) + begin * layout_.layer_bytes(),
            (end - begin) * layout_.layer_bytes()};
  }

 private:
  KvArena(const KvLayout& layout, uint32_t capacity, HugeMemory memory);

  KvLayout layout_;
  uint32_t capacity_;
  HugeMemory memory_;
};

}  // namespace braid
