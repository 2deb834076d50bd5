// Which of two phases goes first on a device that has both, with every core of
// the machine: the rows that decode there or the prompts that wait for it. A
// prompt keeps all rows for as long as it takes; rows keep all prompts until
// the last of them has ended. What keeps fewer for less time goes first, as
// shortest jobs do: a few last tokens are worth more than an early start of
// a long prompt.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

namespace braid {

struct PhaseLoad {
  uint32_t rows = 0;
  double rows_left = 0;  // seconds until the last of them ends, without prompts
  uint32_t prompts = 0;
  double prompts_left = 0;  // seconds for all of them
  // Seconds that the first and the last of the prompts have waited.
  double first_waited = 0, last_waited = 0;
  double ttft_target = 0;  // seconds; of it
};

// Whether the rows are to end before the next prompt goes on. Never where first
// tokens would come near their target.
bool RowsFirst(const PhaseLoad& load);

}  // namespace braid
