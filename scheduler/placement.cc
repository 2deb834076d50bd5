#include "scheduler/placement.h"

namespace braid {
namespace {

// Weight of the newest measurement: half of the past is forgotten after six.
constexpr double kGain = 0.1;

// Below that, a step's fixed part hides the cost of its prompt tokens.
constexpr uint32_t kTelling = 32;

}  // namespace

void StepCost::Observe(uint32_t chunk_tokens, uint32_t decode_rows,
                       double seconds) {
  if (chunk_tokens >= kTelling) {
    token_seconds_ += kGain * (seconds / chunk_tokens - token_seconds_);
  } else if (chunk_tokens == 0 && decode_rows > 0) {
    step_seconds_ += kGain * (seconds - step_seconds_);
  }
}

PlacementReason ChoosePlacement(const PlacementInput& input,
                                const StepCost& cost) {
  const double own = input.uncached_tokens * cost.token_seconds();
  const double split =
      static_cast<double>(input.prefill_backlog_tokens) * cost.token_seconds() +
      own;
  // The step in flight must end first; on average half of it is left, but a
  // promise is made of the whole.
  const double bypass =
      (input.decode_rows > 0 ? cost.step_seconds() : 0.0) + own;
  if (bypass + kBypassGainSeconds > split) return PlacementReason::kSplitFaster;
  if (own > kBypassStallSeconds) {
    return PlacementReason::kSplitHarmless;
  }
  return PlacementReason::kBypassFaster;
}

}  // namespace braid
