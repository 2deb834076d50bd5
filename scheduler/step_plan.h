// What one device does next, as plain structs: comparable and printable, so
// that tests show plans as text and a log can be read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "scheduler/placement_policy.h"

namespace braid {

enum class RowKind : uint8_t { kChunk, kDecode };

// Consecutive tokens [first, first + count) of one request.
struct PlannedRows {
  RequestId request;
  RowKind kind = RowKind::kDecode;
  uint32_t slot = 0;  // its place in the scheduler's table
  uint32_t first = 0;
  uint32_t count = 1;
  bool draws = true;  // a token is drawn after the last row
  friend bool operator==(const PlannedRows&, const PlannedRows&) = default;
};

// A request leaves the queue: where it runs, which cached blocks it shares and
// how many blocks it takes. All that it will ever need is taken here.
struct Admission {
  RequestId request;
  uint32_t slot = 0;
  DeviceId prefill, decode;
  PlacementReason reason = PlacementReason::kOneDevice;
  std::vector<BlockId> shared;  // in the prefill device's pool
  uint32_t taken = 0;
  // In the decode device's pool, when that is another one.
  std::vector<BlockId> landing_shared;
  uint32_t landing_taken = 0;
  friend bool operator==(const Admission&, const Admission&) = default;
};

// What becomes of the KV of a request that is put back. A lower tier of memory
// would be another action.
enum class PreemptAction : uint8_t { kRecompute };

struct Preemption {
  RequestId request;
  uint32_t slot = 0;
  PreemptAction action = PreemptAction::kRecompute;
  // Predicted seconds: to compute it again, and that another waits no longer.
  double cost = 0, gain = 0;
  friend bool operator==(const Preemption&, const Preemption&) = default;
};

struct StepPlan {
  DeviceId device;
  // Back to the queue before anything else: a better class needs their blocks
  // or rows.
  std::vector<Preemption> preempted;
  std::vector<Admission> admissions;
  std::vector<PlannedRows> rows;  // empty: nothing to launch
  std::vector<DeviceId> lent;     // idle devices whose cores it uses
  // Nothing to apply.
  bool empty() const { return rows.empty() && preempted.empty(); }
  friend bool operator==(const StepPlan&, const StepPlan&) = default;
};

// "d0 lent d1 | admit r3 d0>d1 cached 2 take 5+8 split | chunk r3 32+64 draw |
// decode r1 45"
std::string ToString(const StepPlan& plan);

}  // namespace braid
