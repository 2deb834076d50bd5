#include "bench/pinned_team.h"

#include <chrono>
#include <cstdio>

#include <pthread.h>
#include <sched.h>

namespace braid::bench {
namespace {

void PinTo(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
    std::fprintf(stderr, "cannot pin a thread to processor %d\n", processor);
  }
}

// Spins briefly, then lets others run: the machine may be shared.
class Spin {
 public:
  void Once() {
    if (++spins_ % 4096 == 0) std::this_thread::yield();
  }

 private:
  int spins_ = 0;
};

}  // namespace

PinnedTeam::PinnedTeam(int threads)
    : threads_(threads), arrivals_(static_cast<size_t>(threads)) {
  PinTo(0);
  for (int t = 1; t < threads; ++t) {
    others_.emplace_back([this, t] { Loop(t); });
  }
}

PinnedTeam::~PinnedTeam() {
  stop_.store(true);
  started_.fetch_add(1);
  for (std::thread& thread : others_) thread.join();
}

void PinnedTeam::Loop(int thread) {
  PinTo(thread);
  for (uint64_t round = 1;; ++round) {
    Spin spin;
    while (started_.load(std::memory_order_acquire) < round) spin.Once();
    if (stop_.load()) return;
    (*work_)(thread);
    Barrier(thread);
  }
}

double PinnedTeam::Run(const std::function<void(int)>& work) {
  using Clock = std::chrono::steady_clock;
  work_ = &work;
  const auto start = Clock::now();
  started_.fetch_add(1, std::memory_order_release);
  work(0);
  Barrier(0);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void PinnedTeam::Barrier(int thread) {
  const uint64_t round = arrivals_[static_cast<size_t>(thread)].count.fetch_add(
                             1, std::memory_order_acq_rel) +
                         1;
  Spin spin;
  for (const Arrival& other : arrivals_) {
    while (other.count.load(std::memory_order_acquire) < round) spin.Once();
  }
}

}  // namespace braid::bench
