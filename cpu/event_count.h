// A counter that threads wait on: spinning for as long as what they wait for is
// near, then asleep.
//
// Between the two it does not give way (sched_yield), as std::atomic::wait
// does: Linux takes the rest of its slice from a thread that gives way, and
// more, so next to a busy neighbour each time costs milliseconds.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace braid::cpu {

// Thread safety: every member, from any thread. What was written before Advance
// is visible to those who have seen the count behind it.
class EventCount final {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  void Advance();
  // Returns once the count is no longer `seen`. Sleeps when it has polled for
  // about `spin`, at full speed first and then with pauses.
  void Await(uint32_t seen, std::chrono::microseconds spin) const;

 private:
  std::atomic<uint32_t> value_{0};
  mutable std::atomic<uint32_t> sleepers_{0};
};

}  // namespace braid::cpu
