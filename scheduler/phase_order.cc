#include "scheduler/phase_order.h"

namespace braid {
namespace {

// What rows must save in total, of what prompts lose: rows that wait for the
// prompt decode beside those that it brings, at little cost, and how many
// tokens are left is a guess.
constexpr double kGain = 4;
// Of the TTFT target, what rows may use up.
constexpr double kTargetShare = 0.8;

}  // namespace

bool RowsFirst(const PhaseLoad& load) {
  if (load.rows == 0 || load.prompts == 0) return false;
  if (load.waited + load.rows_left + load.prompts_left >
      kTargetShare * load.ttft_target) {
    return false;
  }
  return load.rows * load.prompts_left / load.prompts >
         kGain * load.prompts * load.rows_left;
}

}  // namespace braid
