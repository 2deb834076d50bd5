// A text file of the world outside, plain or gzip'd, whole in memory.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace braid {

// Refuses files that are larger than `max_bytes` when unpacked.
absl::StatusOr<std::string> ReadTextFile(const std::string& path,
                                         uint64_t max_bytes);

}  // namespace braid
