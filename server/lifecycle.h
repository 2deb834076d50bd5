// Where a server is in its life; what probes ask for.
#pragma once

#include <atomic>

namespace braid::server {

// Thread-safe. While its model is loaded a server has routes of their own
// (AddLoadingRoutes), so this begins ready, and drains at the end.
class Lifecycle final {
 public:
  bool draining() const { return draining_.load(); }
  void BeginDrain() { draining_.store(true); }

 private:
  std::atomic<bool> draining_{false};
};

}  // namespace braid::server
