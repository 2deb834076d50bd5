// An anonymous mapping that asks for huge pages: weights and KV are read in
// streams, and with 4 KiB pages a quarter of that time goes to address
// translation. Pages are zero and unpaid for until first touched.
//
// Thread safety: immutable apart from move; the bytes are the owner's affair.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "absl/status/statusor.h"

namespace braid {

class HugeMemory final {
 public:
  HugeMemory() = default;  // empty
  // RESOURCE_EXHAUSTED when the system refuses. Aligned to 2 MiB.
  static absl::StatusOr<HugeMemory> Map(size_t bytes);
  ~HugeMemory();
  HugeMemory(HugeMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  HugeMemory& operator=(HugeMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // Makes the bytes from `begin` (a multiple of 2 MiB) to `end` present, which
  // else whoever first touches them waits for; what they hold stays. False: the
  // system cannot, which costs speed alone. REQUIRES: end <= size().
  bool Populate(size_t begin, size_t end) const;

  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  HugeMemory(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace braid
