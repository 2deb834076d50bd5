#include "scheduler/phase_order.h"

#include <algorithm>

#include "scheduler/service_class.h"

namespace braid {
namespace {

// What rows must save in total, of what prompts lose: rows that wait for the
// prompt decode beside those that it brings, at little cost, and how many
// tokens are left is a guess.
constexpr double kGain = 4;

}  // namespace

bool RowsFirst(const PhaseLoad& load) {
  if (load.rows == 0 || load.prompts == 0) return false;
  // One after the other: the first is computed next, the last when all are.
  const double latest =
      std::max(load.first_waited + load.prompts_left / load.prompts,
               load.last_waited + load.prompts_left);
  if (load.rows_left + latest > kSafeTtftShare * load.ttft_target) return false;
  return load.rows * load.prompts_left / load.prompts >
         kGain * load.prompts * load.rows_left;
}

}  // namespace braid
