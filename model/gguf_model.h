// A model from the bytes of a GGUF file: what its metadata keys and tensor
// names mean.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "model/model_file.h"

namespace braid {

// Everything but `files` and `fingerprint`. The weights are views into `file`.
// INVALID_ARGUMENT for a corrupt file, UNIMPLEMENTED (by name) for what is not
// supported.
absl::StatusOr<ModelFile::Parts> ReadGguf(std::span<const std::byte> file);

}  // namespace braid
