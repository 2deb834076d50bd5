// Split or bypass: whether a request's prompt is computed on a prefill device
// and handed over, or on the decode device itself, as a chunk among its decode
// rows. A pure function of predictions; every answer has its reason.
#pragma once

#include <cstdint>

#include "scheduler/placement_policy.h"

namespace braid {

// What a step costs. Starts from a guess and follows what is measured.
class StepCost {
 public:
  // A step of `chunk_tokens` prompt tokens and `decode_rows` took `seconds`.
  void Observe(uint32_t chunk_tokens, uint32_t decode_rows, double seconds);

  // Of one more prompt token in a step.
  double token_seconds() const { return token_seconds_; }
  // Of a step that only decodes.
  double step_seconds() const { return step_seconds_; }

 private:
  double token_seconds_ = 0.0007;
  double step_seconds_ = 0.005;
};

struct PlacementInput {
  uint32_t uncached_tokens = 0;  // of the prompt, on the decode device
  // Prompt tokens that the prefill devices must compute first, on the one with
  // the fewest.
  uint64_t prefill_backlog_tokens = 0;
  uint32_t decode_rows = 0;  // requests that decode on the decode device
};

// The longest pause a bypass may put between two tokens of others: of those
// that decode there now, or start to while it runs.
inline constexpr double kBypassStallSeconds = 0.025;
// What a bypass must save before it is worth leaving the prefill devices.
inline constexpr double kBypassGainSeconds = 0.005;

// kSplitFaster, kSplitHarmless or kBypassFaster.
PlacementReason ChoosePlacement(const PlacementInput& input,
                                const StepCost& cost);

}  // namespace braid
