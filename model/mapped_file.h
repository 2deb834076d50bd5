// A file mapped read-only. Its pages are the kernel's: they come on first use
// and may be dropped and read again at any time.
//
// Thread safety: immutable, so any thread may read it. A file that somebody
// truncates while it is mapped raises SIGBUS on the pages that are gone.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace braid {

class MappedFile final {
 public:
  // NOT_FOUND, PERMISSION_DENIED, or INVALID_ARGUMENT for what is not a
  // regular file or is empty.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(
      const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  // Gives the resident pages back; a later read fetches them again. For after
  // the weights were repacked.
  void ReleasePages() const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  const std::span<const std::byte> bytes_;
};

}  // namespace braid
