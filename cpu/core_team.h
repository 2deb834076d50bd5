// Resident threads, one per processor core, and the barrier at which those that
// share a step meet.
//
// A step of a CPU device has hundreds of stages of a few microseconds each, so
// its threads are never created, woken or queued for in between: they all run
// the same straight-line function and meet at barriers they spin at. Between
// steps a thread spins briefly for the next one, then sleeps.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "cpu/event_count.h"

namespace braid::cpu {

// Where the `size` threads of a step meet. They spin for a bounded time and
// then sleep: on a machine with other things to do, the one waited for may not
// be running at all.
//
// Thread safety: Wait is for the step's threads. SetSize only while no step
// runs; it must happen before (in the C++ sense) each thread's first Wait.
class SpinBarrier final {
 public:
  void SetSize(int size) { size_ = size; }
  // Returns once all `size` threads have called it; what each wrote before is
  // visible to all after.
  void Wait();

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) EventCount generation_;
  alignas(64) int size_ = 1;
};

// One thread per core of all CPU devices of a process.
//
// Thread safety: Post may be called from any thread, for a given core by one
// thread at a time, and only when that core's previous work is done.
class CoreThreads final {
 public:
  struct Options {
    bool pin = true;
    std::chrono::microseconds spin{50};  // before an idle thread sleeps
  };

  // INVALID_ARGUMENT when a core is named twice or, with `pin`, is not one this
  // process may run on.
  static absl::StatusOr<std::unique_ptr<CoreThreads>> Start(
      const std::vector<int>& cores, const Options& options);
  // Waits for the work in progress.
  ~CoreThreads();

  // Runs work(context, index) on a core, given as an index into Start's list.
  using Work = void (*)(void* context, int index);
  void Post(int core, Work work, void* context, int index);
  // Waits until the core's work has returned. A barrier is not enough before
  // what the work used is freed or reused: the others may still be leaving it.
  void AwaitIdle(int core) const;

 private:
  struct alignas(64) Mailbox {
    EventCount posted;  // the jobs ...
    EventCount done;    // ... and those that have returned
    std::atomic<bool> stop{false};
    Work work = nullptr;
    void* context = nullptr;
    int index = 0;
  };

  CoreThreads(size_t cores, const Options& options)
      : options_(options), mailboxes_(cores) {}
  void Serve(Mailbox& mailbox) const;
  // Returns when posted() has moved on from `seen`.
  void AwaitPost(const Mailbox& mailbox, uint32_t seen) const;

  const Options options_;
  std::vector<Mailbox> mailboxes_;
  std::vector<std::thread> threads_;
};

}  // namespace braid::cpu
