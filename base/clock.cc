#include "base/clock.h"

namespace braid {

TimePoint SystemClock::Now() const {
  return TimePoint(std::chrono::duration_cast<Duration>(
      std::chrono::steady_clock::now().time_since_epoch()));
}

}  // namespace braid
