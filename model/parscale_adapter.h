// Braid's adapter files: a nested set of streams for a base model that stays as
// it is. model/adapters/README.md has the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "model/parscale.h"

namespace braid {

struct ParscaleAdapter {
  ParscaleSet set;
  // The model it was trained for, and what that must look like.
  std::string base_sha256, base_name;
  int32_t hidden = 0, layers = 0, kv_heads = 0, head_dim = 0;
  RopePairing key_layout = RopePairing::kHalves;  // in the file
  // Keys of the metadata that the format has no meaning for, such as how it was
  // trained: for people.
  std::map<std::string, std::string> notes;
};

// The adapter alone, whatever model there is: as LoadParscaleAdapter, without
// what it says about the base. `name` is kept in the set.
absl::StatusOr<ParscaleAdapter> ReadParscaleAdapter(const std::string& path);
absl::StatusOr<ParscaleAdapter> ParseParscaleAdapter(
    std::span<const std::byte> file, const std::string& name);

}  // namespace braid
