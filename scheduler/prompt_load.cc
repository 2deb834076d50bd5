#include "scheduler/prompt_load.h"

#include <algorithm>
#include <cmath>

namespace braid {
namespace {

constexpr double kMemory = 30;  // seconds

}  // namespace

PromptLoad::PromptLoad(size_t devices)
    : memory_(kMemory * static_cast<double>(devices)) {}

void PromptLoad::NotePrompts(double seconds, TimePoint now) {
  busy_ = busy(now) + seconds / memory_;
  prompted_at_ = now;
}

void PromptLoad::NoteStep(double seconds, double without) {
  const double weight = std::min(1.0, seconds / memory_);
  share_ += weight * (std::max(0.0, 1 - without / seconds) - share_);
}

double PromptLoad::busy(TimePoint now) const {
  return busy_ * std::exp(-ToSeconds(now - prompted_at_) / kMemory);
}

}  // namespace braid
