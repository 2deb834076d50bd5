// The safetensors container: eight bytes of header length, a JSON header of
// names, formats, shapes and offsets, and the bytes of the tensors.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "model/weight_binding.h"

namespace braid {

// The tensors are views into `file`. INVALID_ARGUMENT for a corrupt file,
// UNIMPLEMENTED for formats other than F32, F16 and BF16.
absl::StatusOr<NamedTensors> ParseSafetensors(std::span<const std::byte> file);

}  // namespace braid
