// What PrefixIndex evicts first, as a value.
#pragma once

#include <cstdint>

namespace braid {

enum class EvictionOrder : uint8_t {
  // Least recently used first: the baseline.
  kLru,
  // Lowest predicted rate of hits first (reuse_model.h). Learns which blocks
  // come back and when, so a scan passes through without pushing out what is
  // in use, and a loop larger than the pool keeps a part of itself.
  kExpectedReuse,
};

struct EvictionConfig {
  EvictionOrder order = EvictionOrder::kExpectedReuse;
  // Leaves of chains that one eviction looks at. All of them are evictable and
  // each stands for the blocks above it, so a few tell about many.
  uint32_t sample = 128;
  // Blocks, evicted ones too, whose next use is waited for; see ReuseHistory.
  uint32_t history = 80'000;
  uint64_t seed = 0;  // of the sample
};

}  // namespace braid
