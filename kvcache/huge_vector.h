// A vector whose memory asks for huge pages when it is large: tables of a
// million blocks are read at random, and most of a miss would be address
// translation.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include <sys/mman.h>

namespace braid {

template <typename T>
struct HugeAllocator {
  using value_type = T;
  HugeAllocator() = default;
  template <typename U>
  explicit HugeAllocator(const HugeAllocator<U>&) {}

  T* allocate(size_t n) {
    const size_t bytes = n * sizeof(T);
    if (bytes < kHugePage) {
      return static_cast<T*>(::operator new(bytes, kLine));
    }
    const size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = std::aligned_alloc(kHugePage, rounded);
    if (memory == nullptr) throw std::bad_alloc();
    // Refused: it works with small pages.
    (void)::madvise(memory, rounded, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t n) {
    if (n * sizeof(T) < kHugePage) return ::operator delete(memory, kLine);
    std::free(memory);
  }
  friend bool operator==(HugeAllocator, HugeAllocator) { return true; }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  static constexpr std::align_val_t kLine{64};  // a cache line
};

template <typename T>
using HugeVector = std::vector<T, HugeAllocator<T>>;

}  // namespace braid
