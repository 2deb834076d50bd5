// Sizes as people write them: "2GiB", "512MB", "4096".
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace braid::server {

// Units: none or B, KB/MB/GB/TB (powers of 1000), KiB/MiB/GiB/TiB and K/M/G/T
// (powers of 1024); case does not matter.
absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text);

// "1.5 GiB".
std::string ByteSizeToString(uint64_t bytes);

}  // namespace braid::server
