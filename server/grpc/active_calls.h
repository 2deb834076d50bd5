// How many streams are being answered, so that a server that stops can wait for
// them alone: health watches never end by themselves.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace braid::server {

class ActiveCalls final {
 public:
  void Enter() {
    std::lock_guard lock(mutex_);
    ++count_;
  }
  void Leave() {
    std::lock_guard lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  // For at most `limit`.
  void WaitUntilNone(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    none_.wait_for(lock, limit, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  int count_ = 0;  // guarded by mutex_
};

}  // namespace braid::server
