// Carries wake-ups from the engine to gRPC streams: starting a write serialises
// and may enter the kernel, which the engine's thread must not pay for.
//
// Thread safety: Post is thread-safe and never blocks.
// Bound: a stream posts again only after it was woken, so the queue never holds
// more than the streams that are alive.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace braid::server {

class WakeThread final {
 public:
  WakeThread();
  ~WakeThread();  // Runs what was posted, and joins.

  void Post(std::function<void()> wake);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  bool stopping_ = false;                      // guarded by mutex_
  std::thread thread_;                         // last: uses all above
};

}  // namespace braid::server
