// How much of the devices' time went to prompts lately. Two questions are asked
// of it, and neither average answers the other:
//
//   busy    of all time, what steps with prompts took, whatever else was in
//           them. It fades with the clock: on a machine that nobody came to it
//           is nothing. Streams ask it, which leave time to prompts that are
//           likely to come.
//   share   of the time that steps took, what prompts have added to them. Idle
//           time does not count, so it holds for when there is work again.
//           Placement asks it, which weighs prompts against rows.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstddef>

#include "base/clock.h"

namespace braid {

class PromptLoad final {
 public:
  explicit PromptLoad(size_t devices);

  // A step with prompts has ended.
  void NotePrompts(double seconds, TimePoint now);
  // A step has ended that would have taken `without` seconds but for prompts.
  void NoteStep(double seconds, double without);

  double busy(TimePoint now) const;
  double share() const { return share_; }

 private:
  const double memory_;  // seconds of every device together
  double busy_ = 0;      // at prompted_at_
  TimePoint prompted_at_;
  double share_ = 0.35;
};

}  // namespace braid
