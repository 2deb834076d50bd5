// A queue with a bound, for handing values from many threads to one.
//
// Thread safety: all methods are thread-safe. TryPush never blocks: a full
// queue says so, and the caller refuses the work. The consumer drains in
// batches, once per turn of its loop, and is woken at most once per batch.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace braid {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // False, leaving `value` untouched, when the queue is full.
  [[nodiscard]] bool TryPush(T&& value) {
    {
      std::lock_guard lock(mutex_);
      if (items_.size() >= capacity_) return false;
      items_.push_back(std::move(value));
    }
    not_empty_.notify_one();
    return true;
  }

  // Makes a waiting consumer look around even though nothing was pushed.
  void Wake() {
    {
      std::lock_guard lock(mutex_);
      woken_ = true;
    }
    not_empty_.notify_one();
  }

  // Swaps everything queued into `out` (which is cleared first), waiting up to
  // `wait` for something to come or for Wake().
  void Drain(std::vector<T>& out, std::chrono::nanoseconds wait) {
    out.clear();
    std::unique_lock lock(mutex_);
    if (wait > std::chrono::nanoseconds::zero()) {
      not_empty_.wait_for(lock, wait,
                          [&] { return woken_ || !items_.empty(); });
    }
    woken_ = false;
    items_.swap(out);
  }

  size_t capacity() const { return capacity_; }

 private:
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::vector<T> items_;  // guarded by mutex_
  bool woken_ = false;    // guarded by mutex_
};

}  // namespace braid
