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
#include "scheduler/turn_tree.h"

namespace braid {

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
  using Order = std::set<QueueKey>;
  struct Waiting {
    uint32_t service_class;
    uint64_t tenant;
    double seconds;
  };
  struct Tenant {
    uint32_t queued = 0;
    double last_tag = 0;  // of its latest request
    double next_tag = 0;  // behind that
    double refund = 0;    // of it, for requests that left unserved
  };
  struct Class {
    ServiceClass promise;
    TurnTree turns;
    absl::flat_hash_map<uint64_t, Tenant> tenants;  // queued, or ahead
    uint32_t active = 0;                            // tenants with queued > 0
    size_t crowded = 0;  // beyond as many tenants, see who can be forgotten
    double clock = 0;    // seconds of service that each of them was given
  };

  static double TagOf(const Class& own, uint64_t tenant);
  void Insert(const QueueKey& key, const Waiting& waiting, double tag);
  static void Forget(Class& own);

  std::vector<Class> classes_;
  Order order_;
  std::vector<Order::node_type> spare_;  // of those who left
  absl::flat_hash_map<RequestId, Waiting> waiting_;
};

}  // namespace braid
