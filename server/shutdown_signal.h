// SIGTERM and SIGINT as something to wait for.
#pragma once

#include <future>
#include <thread>

namespace braid::server {

// The first signal fulfils Wait; a second one ends the process at once, with
// 128 plus its number.
//
// REQUIRES: created before any other thread, so that all inherit the mask. One
// per process.
class ShutdownSignal final {
 public:
  ShutdownSignal();
  ~ShutdownSignal();

  // Returns the signal's number.
  int Wait() { return first_.get_future().get(); }

 private:
  void Run();

  std::promise<int> first_;
  std::thread thread_;
};

}  // namespace braid::server
