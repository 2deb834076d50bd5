// The one source of time. Everything that decides takes a TimePoint as an
// argument; only loops and servers hold a Clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace braid {

using Duration = std::chrono::nanoseconds;

// Monotonic time of this process.
struct MonotonicClockTag {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  static constexpr bool is_steady = true;
};
using TimePoint = std::chrono::time_point<MonotonicClockTag, Duration>;

inline constexpr TimePoint kNever = TimePoint::max();

inline double ToSeconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
// REQUIRES: it fits.
inline Duration FromSeconds(double seconds) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(seconds));
}

// Seam: real time in production, a hand-driven one in tests and the simulator.
// Thread-safe. Never goes back.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

// std::chrono::steady_clock.
class SystemClock final : public Clock {
 public:
  TimePoint Now() const override;
};

}  // namespace braid
