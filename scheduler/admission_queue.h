// Requests that wait to be admitted, in the order in which they are to be
// served, with a bound per class.
//
// Order: when the first token is due (arrival plus the class's TTFT target, or
// earlier where the request's own deadline asks for it), then priority, then
// arrival. Dues are compared in slots of an eighth of the class's target, else
// no two would be equal and priority would never count.
//
// Fairness between the tenants of a class is start-time fair queueing (Goyal et
// al., SIGCOMM'96). Every request has a tag: the service its tenant will have
// been given when it starts; and a tenant's tags run ahead of its class's clock
// by what it has in the queue or was given beyond its share. A newcomer stands
// no later than the first request of its class with a later tag, so a tenant's
// burst stands behind the others' next requests, not before them. A tenant
// alone is never touched: its tags are in order of arrival, and only tags of
// others are later. Every key is fixed on arrival, and a tag is overtaken only
// by what is given before the clock reaches it: nobody starves.
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

// Place in the order of service; smaller is served earlier. Who stands beside
// another for fairness's sake has all of its key but the id.
struct QueueKey {
  TimePoint due;
  int64_t urgency = 0;  // minus the priority
  TimePoint arrival;
  RequestId place;  // its own id
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
  struct Waiting {
    uint32_t service_class;
    uint64_t tenant;
    double seconds;
    double tag;
  };
  struct Tenant {
    uint32_t queued = 0;
    double next_tag = 0;  // of its next request, unless the clock is further
    double refunded = 0;  // of requests that left unserved
  };
  struct Class {
    ServiceClass promise;
    std::set<QueueKey> order;
    absl::flat_hash_map<uint64_t, Tenant> tenants;  // queued, or ahead
    uint32_t active = 0;                            // tenants with queued > 0
    double clock = 0;     // seconds of service, per tenant
    double last_tag = 0;  // the largest ever given
  };

  double TagOf(const Class& own, const QueueEntry& entry) const;
  void Insert(const QueueKey& key, const Waiting& waiting);
  static void Forget(Class& own);

  std::vector<Class> classes_;
  std::set<QueueKey> order_;
  absl::flat_hash_map<RequestId, Waiting> waiting_;
};

}  // namespace braid
