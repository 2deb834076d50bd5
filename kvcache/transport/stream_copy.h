// memcpy for bytes that the copying core will not look at again: stores that
// bypass the caches where the processor has them, so that the destination is
// not read before it is written and the copy evicts nobody's working set.
#pragma once

#include <cstddef>
#include <span>

namespace braid {

// REQUIRES: equal sizes; no overlap. Fastest when both starts are aligned to 16
// bytes. Ordered like plain stores for whoever synchronises with the caller
// afterwards.
void StreamCopy(std::span<std::byte> destination,
                std::span<const std::byte> source);

}  // namespace braid
