// What a Scheduler is told once, and never changes.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "scheduler/device_state.h"
#include "scheduler/placement_policy.h"
#include "scheduler/service_class.h"
#include "scheduler/split.h"
#include "scheduler/stream_terms.h"

namespace braid {

struct SchedulerConfig {
  std::vector<SchedulerDevice> devices;
  std::vector<uint32_t> pool_blocks;  // capacity of PoolId(i)
  uint32_t block_tokens = 16;
  SplitMode split = SplitMode::kAuto;
  // Under kAuto: no device ever works for the other pool.
  bool static_roles = false;
  uint32_t max_context = 0;
  uint32_t prefill_chunk = 256;  // most prompt tokens in a step
  uint32_t max_running = 256;    // admitted, not finished
  uint32_t max_queued = 1024;    // of all classes together
  bool lend_cores = true;
  bool prefix_cache = true;
  std::vector<ServiceClass> classes = DefaultServiceClasses();  // best first
  PlacementPolicy placement = ChoosePlacement;
  uint32_t decisions_kept = 4096;
  std::vector<StreamSet> stream_sets;  // of the model; empty: it has none
};

// INVALID_ARGUMENT when the configuration contradicts itself.
absl::Status Validate(const SchedulerConfig& config);

// Whether the layout is the scheduler's to choose. Devices that share a pool
// hand over at no cost: there is nothing to plan.
bool PlansSplit(const SchedulerConfig& config);

// The set with which a fixed gang runs; null: there is none for it.
const StreamSet* GangSet(const SchedulerConfig& config,
                         const StreamTerms& terms);

}  // namespace braid
