// SHA-256 of files, as `sha256sum` prints it: by which an adapter names the
// model that it was made for.
#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace braid {

// Of the files' bytes, one file after the other: 64 hexadecimal digits. Some
// 300 MB/s to 2 GB/s, by processor. What MappedFile::Open says when a file
// cannot be read.
absl::StatusOr<std::string> Sha256OfFiles(std::span<const std::string> paths);

// Whether `text` is such a sum: 64 digits, the letters lower-case.
bool IsSha256(const std::string& text);

}  // namespace braid
