#include "base/huge_memory.h"

#include <cerrno>
#include <cstdint>

#include <sys/mman.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

}  // namespace

absl::StatusOr<HugeMemory> HugeMemory::Map(size_t bytes) {
  BRAID_CHECK(bytes > 0);
  const size_t size = RoundUp(bytes);
  // One huge page more than needed, so that an aligned start lies inside.
  void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot map ", bytes, " bytes (errno ", errno, ")"));
  }
  const auto start = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = RoundUp(start);
  if (aligned > start) munmap(raw, aligned - start);
  const uintptr_t end = start + size + kHugePage;
  if (end > aligned + size) {
    munmap(reinterpret_cast<void*>(aligned + size), end - aligned - size);
  }
  auto* data = reinterpret_cast<std::byte*>(aligned);
  // A refusal costs speed, not correctness.
  (void)madvise(data, size, MADV_HUGEPAGE);
  return HugeMemory(data, size);
}

bool HugeMemory::Populate(size_t begin, size_t end) const {
  BRAID_CHECK(begin % kHugePage == 0 && begin <= end && end <= bytes_);
#ifdef MADV_POPULATE_WRITE
  return begin == end ||
         madvise(data_ + begin, end - begin, MADV_POPULATE_WRITE) == 0;
#else
  return begin == end;
#endif
}

HugeMemory::~HugeMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace braid
