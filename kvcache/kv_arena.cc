#include "kvcache/kv_arena.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid {
namespace {

// Between looks at the clock; some huge pages.
constexpr size_t kPopulatedAtOnce = size_t{16} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<KvArena>> KvArena::Create(const KvLayout& layout,
                                                         uint32_t capacity) {
  const size_t block_bytes = layout.block_bytes();
  BRAID_CHECK(block_bytes > 0 && capacity > 0);
  // Half the address space, so that rounding up cannot overflow either.
  const bool fits =
      capacity <= std::numeric_limits<size_t>::max() / 2 / block_bytes;
  absl::StatusOr<HugeMemory> memory =
      fits ? HugeMemory::Map(capacity * block_bytes)
           : absl::ResourceExhaustedError("larger than the address space");
  if (!memory.ok()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "no memory for ", capacity, " KV blocks of ", block_bytes, " bytes (",
        memory.status().message(), "); lower --kv-memory"));
  }
  return std::unique_ptr<KvArena>(
      new KvArena(layout, capacity, *std::move(memory)));
}

KvArena::KvArena(const KvLayout& layout, uint32_t capacity, HugeMemory memory)
    : layout_(layout), capacity_(capacity), memory_(std::move(memory)) {}

void KvArena::Populate(size_t bytes, const Clock& clock,
                       TimePoint until) const {
  const size_t all = std::min(bytes, memory_.size());
  for (size_t begin = 0; begin < all && clock.Now() < until;) {
    const size_t end = std::min(begin + kPopulatedAtOnce, all);
    if (!memory_.Populate(begin, end)) return;
    begin = end;
  }
}

}  // namespace braid
