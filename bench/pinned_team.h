// Threads of a benchmark, each pinned to one processor, that start a piece of
// work together and meet at spins. The caller is thread 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace braid::bench {

class PinnedTeam final {
 public:
  // Pins the calling thread too.
  explicit PinnedTeam(int threads);
  ~PinnedTeam();
  PinnedTeam(const PinnedTeam&) = delete;
  PinnedTeam& operator=(const PinnedTeam&) = delete;

  int threads() const { return threads_; }
  // Runs work(thread) on all threads and returns the seconds until the last
  // one is done.
  double Run(const std::function<void(int)>& work);
  // Called by every thread inside Run, equally often.
  void Barrier(int thread);

 private:
  struct alignas(64) Arrival {
    std::atomic<uint64_t> count{0};
  };

  void Loop(int thread);

  const int threads_;
  std::vector<Arrival> arrivals_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<uint64_t> started_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> others_;
};

}  // namespace braid::bench
