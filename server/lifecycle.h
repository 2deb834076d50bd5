// Where a server is in its life; what probes ask for.
#pragma once

#include <atomic>

namespace braid::server {

// Thread-safe. A server listens once its model is loaded, so it begins ready,
// and drains at the end.
class Lifecycle final {
 public:
  bool draining() const { return draining_.load(); }
  void BeginDrain() { draining_.store(true); }

 private:
  std::atomic<bool> draining_{false};
};

}  // namespace braid::server
