#include "server/grpc/wake_thread.h"

#include <utility>

namespace braid::server {

WakeThread::WakeThread() : thread_([this] { Run(); }) {}

WakeThread::~WakeThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  not_empty_.notify_one();
  thread_.join();
}

void WakeThread::Post(std::function<void()> wake) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(wake));
  }
  not_empty_.notify_one();
}

void WakeThread::Run() {
  std::vector<std::function<void()>> taken;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      not_empty_.wait(lock, [this] { return stopping_ || !posted_.empty(); });
      if (posted_.empty()) return;
      taken.swap(posted_);
    }
    for (const auto& wake : taken) wake();
    taken.clear();
  }
}

}  // namespace braid::server
