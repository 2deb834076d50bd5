// Requests that wait to be admitted, in the order in which they are to be
// served, with a bound per class.
//
// Order: when the first token is due (explicit deadline, or arrival plus the
// class's TTFT target), then priority, then arrival. Dues are compared in slots
// of an eighth of the class's target, else no two would be equal and priority
// would never count. A tenant that is ahead of its fair share of what its class
// was given lately has its dues put off by its lead (start-time fair queueing,
// Goyal et al., SIGCOMM'96, with the tag turned into time): one tenant alone is
// never put off. Every key is fixed on arrival and finite, so nobody starves.
//
// Thread safety: engine thread only.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/ids.h"
#include "scheduler/service_class.h"

namespace braid {

// Place in the order of service; smaller is served earlier.
struct QueueKey {
  TimePoint due;
  int64_t urgency = 0;  // minus the priority
  TimePoint arrival;
  RequestId id;
  friend auto operator<=>(const QueueKey&, const QueueKey&) = default;
};

struct QueueEntry {
  RequestId id;
  uint32_t service_class = 0;
  uint64_t tenant = 0;
  int32_t priority = 0;
  TimePoint arrival;
  TimePoint deadline = kNever;  // for the whole request
  double seconds = 0;           // of device time that it is predicted to take
};

class AdmissionQueue final {
 public:
  explicit AdmissionQueue(std::vector<ServiceClass> classes);

  // Where it would stand.
  QueueKey KeyOf(const QueueEntry& entry) const;
  // False: its class's queue is full.
  [[nodiscard]] bool Push(const QueueEntry& entry, QueueKey* key);
  // Puts one back that was admitted before: no bound, and its old key.
  void Restore(const QueueKey& key, uint32_t service_class, uint64_t tenant);
  // It leaves: `served` when it is admitted, else it never took anything.
  void Remove(const QueueKey& key, bool served);

  // In order of service.
  auto begin() const { return order_.begin(); }
  auto end() const { return order_.end(); }
  size_t size() const { return order_.size(); }
  uint32_t size(uint32_t service_class) const;
  // The one that is to be shed first: the last of the lowest class that is
  // lower than `service_class`. Null: there is none.
  const QueueKey* Victim(uint32_t service_class) const;

 private:
  // The member layout is the implementation's.
  struct Waiting {
    uint32_t service_class;
    uint64_t tenant;
    double seconds;
  };
  std::vector<ServiceClass> classes_;
  std::set<QueueKey> order_;
  absl::flat_hash_map<RequestId, Waiting> waiting_;
};

}  // namespace braid
