// The safetensors container: eight bytes of header length, a JSON header of
// names, formats, shapes and offsets, and the bytes of the tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/weight_binding.h"

namespace braid {

struct SafetensorsFile {
  // Views into the file's bytes; leading extents are folded into rows.
  NamedTensors tensors;
  // All extents, by name.
  absl::flat_hash_map<std::string, std::vector<int64_t>> shapes;
  // "__metadata__": free text of whoever saved the file.
  absl::flat_hash_map<std::string, std::string> metadata;
};

// INVALID_ARGUMENT for a corrupt file, UNIMPLEMENTED for formats other than
// F32, F16 and BF16.
absl::StatusOr<SafetensorsFile> ParseSafetensors(
    std::span<const std::byte> file);

}  // namespace braid
