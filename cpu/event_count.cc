#include "cpu/event_count.h"

#include <climits>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace braid::cpu {
namespace {

// A barrier between threads that are in step takes less than one pause.
constexpr int kHotPolls = 200;
constexpr int kPausedPolls = 64;  // between looks at the clock

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The kernel reads the word itself; of an atomic of this size it is all.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void SleepWhile(const std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void WakeAll(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

// Both sides sequentially consistent: either the sleeper's look at the count,
// inside the system call, comes after the advance, or the look at the sleepers
// comes after they were counted.
void EventCount::Advance() {
  value_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) WakeAll(value_);
}

void EventCount::Await(uint32_t seen, std::chrono::microseconds spin) const {
  for (int i = 0; i < kHotPolls; ++i) {
    if (value() != seen) return;
  }
  const auto sleep_at = std::chrono::steady_clock::now() + spin;
  do {
    for (int i = 0; i < kPausedPolls; ++i) {
      if (value() != seen) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < sleep_at);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) == seen) {
    SleepWhile(value_, seen);
  }
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace braid::cpu
