#include "scheduler/admission_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace braid {
namespace {

constexpr int kSlotsPerTarget = 8;

// What a request counts for, at least and at most: a tenant's tags must grow,
// and one wild prediction must not shut it out.
constexpr double kLeastSeconds = 1e-6, kMostSeconds = 1e5;

// Beyond as many, tenants that have nothing queued and are not ahead are
// forgotten.
constexpr size_t kRememberedTenants = 64;

// Restored requests have been paid for; nobody may stand before one on tags.
constexpr double kPaidTag = -std::numeric_limits<double>::infinity();

double SecondsOf(const QueueEntry& entry) {
  return std::clamp(entry.seconds, kLeastSeconds, kMostSeconds);
}

TimePoint FloorToSlot(TimePoint due, Duration slot) {
  const auto since = due.time_since_epoch();
  auto rest = since % slot;
  if (rest < Duration::zero()) rest += slot;
  return due - rest;
}

// When its first token is due. A deadline holds for the whole request, so the
// first token is due earlier by what it takes to run.
TimePoint FirstTokenDue(const QueueEntry& entry, const ServiceClass& promise) {
  TimePoint due = entry.arrival + promise.ttft;
  if (entry.deadline != kNever) {
    const auto run = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(SecondsOf(entry)));
    due = std::min(due, entry.deadline - run);
  }
  return FloorToSlot(due,
                     std::max(promise.ttft / kSlotsPerTarget, Duration(1)));
}

}  // namespace

AdmissionQueue::AdmissionQueue(std::vector<ServiceClass> classes) {
  BRAID_CHECK(!classes.empty());
  for (ServiceClass& promise : classes) {
    classes_.push_back({.promise = std::move(promise)});
  }
}

// No earlier than the clock, nor than what its tenant has in the queue.
double AdmissionQueue::TagOf(const Class& own, uint64_t id) {
  const auto it = own.tenants.find(id);
  if (it == own.tenants.end()) return own.clock;
  const Tenant& tenant = it->second;
  const double tag = std::max(own.clock, tenant.next_tag - tenant.refund);
  return tenant.queued > 0 ? std::max(tag, tenant.last_tag) : tag;
}

QueueKey AdmissionQueue::KeyOf(const QueueEntry& entry) const {
  const Class& own = classes_.at(entry.service_class);
  QueueKey key{.due = FirstTokenDue(entry, own.promise),
               .urgency = -int64_t{entry.priority},
               .arrival = entry.arrival,
               .place = entry.id,
               .id = entry.id};
  // Its own tenant's tags are not later.
  const QueueKey* later = own.turns.FirstLaterThan(TagOf(own, entry.tenant));
  if (later != nullptr && *later < key) {
    key = *later;
    key.id = entry.id;
  }
  return key;
}

bool AdmissionQueue::Push(const QueueEntry& entry, QueueKey* key) {
  Class& own = classes_.at(entry.service_class);
  if (own.turns.size() >= own.promise.max_queued) return false;
  *key = KeyOf(entry);
  const double tag = TagOf(own, entry.tenant);
  const double seconds = SecondsOf(entry);
  Insert(*key,
         {.service_class = entry.service_class,
          .tenant = entry.tenant,
          .seconds = seconds},
         tag);
  Tenant& tenant = own.tenants[entry.tenant];
  const double used = std::max(0.0, tenant.next_tag - tag);
  // A refund is for being ahead of the clock: no claim on more than that.
  tenant.refund =
      std::max(0.0, std::min(tenant.refund - used, tag - own.clock));
  tenant.last_tag = tag;
  tenant.next_tag = tag + seconds;
  return true;
}

void AdmissionQueue::Restore(const QueueKey& key, uint32_t service_class,
                             uint64_t tenant) {
  Insert(key, {.service_class = service_class, .tenant = tenant, .seconds = 0},
         kPaidTag);
}

void AdmissionQueue::Insert(const QueueKey& key, const Waiting& waiting,
                            double tag) {
  Class& own = classes_.at(waiting.service_class);
  BRAID_CHECK(waiting_.emplace(key.id, waiting).second);
  own.turns.Insert(key, tag);
  if (own.tenants[waiting.tenant].queued++ == 0) ++own.active;
  if (spare_.empty()) {
    order_.insert(key);
  } else {
    spare_.back().value() = key;
    order_.insert(std::move(spare_.back()));
    spare_.pop_back();
  }
}

void AdmissionQueue::Remove(const QueueKey& key, bool served) {
  const auto it = waiting_.find(key.id);
  BRAID_CHECK(it != waiting_.end());
  const Waiting waiting = it->second;
  waiting_.erase(it);
  Order::node_type node = order_.extract(key);
  BRAID_CHECK(!node.empty());
  spare_.push_back(std::move(node));
  Class& own = classes_[waiting.service_class];
  own.turns.Erase(key);
  Tenant& tenant = own.tenants.at(waiting.tenant);
  if (served) {
    own.clock += waiting.seconds / own.active;
  } else {
    tenant.refund += waiting.seconds;
  }
  if (--tenant.queued == 0) --own.active;
  Forget(own);
}

// With nobody waiting all are equal again. Otherwise those who have nothing in
// the queue and nothing to answer for need no entry.
void AdmissionQueue::Forget(Class& own) {
  if (own.turns.size() == 0) {
    own.tenants.clear();
    own.clock = 0;
  } else if (own.tenants.size() > own.crowded) {
    absl::erase_if(own.tenants, [&](const auto& item) {
      const Tenant& tenant = item.second;
      return tenant.queued == 0 && tenant.next_tag <= own.clock;
    });
    own.crowded = std::max(kRememberedTenants, 2 * own.tenants.size());
  }
}

uint32_t AdmissionQueue::size(uint32_t service_class) const {
  return classes_.at(service_class).turns.size();
}

const QueueKey* AdmissionQueue::Victim(uint32_t service_class) const {
  for (size_t i = classes_.size(); i-- > size_t{service_class} + 1;) {
    if (const QueueKey* last = classes_[i].turns.Last()) return last;
  }
  return nullptr;
}

}  // namespace braid
