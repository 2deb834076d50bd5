// 64-bit non-cryptographic hash (XXH3) for prefix chains, checksums and model
// fingerprints. Whoever acts on an equal hash compares the content as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace braid {

uint64_t Hash64(std::span<const std::byte> bytes, uint64_t seed = 0);

// Hash of the object representations of a span of trivially copyable values.
template <typename T>
uint64_t Hash64Of(std::span<const T> values, uint64_t seed = 0) {
  return Hash64(std::as_bytes(values), seed);
}

}  // namespace braid
