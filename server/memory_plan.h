// How much memory the KV cache gets, and how long a request may then be.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kvcache/kv_layout.h"
#include "server/options.h"

namespace braid::server {

struct MemoryPlan {
  uint32_t pools = 1;
  uint32_t blocks_per_pool = 0;
  uint32_t max_context = 0;  // tokens
};

// Pure. `available` is what the machine could still give before the weights
// were loaded. RESOURCE_EXHAUSTED names the flag to change when weights and KV
// do not fit into it, or the KV cannot hold one request of --max-context.
absl::StatusOr<MemoryPlan> PlanMemory(const ServeOptions& options,
                                      const KvLayout& layout,
                                      uint32_t model_context,
                                      uint64_t weight_bytes,
                                      uint64_t available);

// Bytes that this process may still take: the least of MemAvailable and what
// its control group leaves.
uint64_t AvailableMemory();

}  // namespace braid::server
