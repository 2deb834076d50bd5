#include "scheduler/admission_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace braid {
namespace {

constexpr int kSlotsPerTarget = 8;

// No request is free: a tenant's tags must grow.
constexpr double kLeastSeconds = 1e-6;

// Restored requests have been paid for; nobody may stand before one on tags.
constexpr double kPaidTag = -std::numeric_limits<double>::infinity();

// Tenants that are neither queued nor ahead are forgotten when there are more.
constexpr size_t kRememberedTenants = 64;

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
        std::chrono::duration<double>(entry.seconds));
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

double AdmissionQueue::TagOf(const Class& own, const QueueEntry& entry) const {
  const auto it = own.tenants.find(entry.tenant);
  return it == own.tenants.end() ? own.clock
                                 : std::max(own.clock, it->second.next_tag);
}

QueueKey AdmissionQueue::KeyOf(const QueueEntry& entry) const {
  const Class& own = classes_.at(entry.service_class);
  QueueKey key{.due = FirstTokenDue(entry, own.promise),
               .urgency = -int64_t{entry.priority},
               .arrival = entry.arrival,
               .place = entry.id,
               .id = entry.id};
  const double tag = TagOf(own, entry);
  if (tag >= own.last_tag) return key;
  for (const QueueKey& other : own.order) {
    if (key < other) break;
    if (waiting_.at(other.id).tag > tag) {
      key = other;
      key.id = entry.id;
      break;
    }
  }
  return key;
}

bool AdmissionQueue::Push(const QueueEntry& entry, QueueKey* key) {
  Class& own = classes_.at(entry.service_class);
  if (own.order.size() >= own.promise.max_queued) return false;
  *key = KeyOf(entry);
  const double tag = TagOf(own, entry);
  const double seconds = std::max(entry.seconds, kLeastSeconds);
  Insert(*key, {.service_class = entry.service_class,
                .tenant = entry.tenant,
                .seconds = seconds,
                .tag = tag});
  Tenant& tenant = own.tenants[entry.tenant];
  // What left unserved was counted; but only while the tags run ahead for it.
  tenant.refunded = std::min(tenant.refunded, tag - own.clock);
  const double refund = std::min(tenant.refunded, seconds);
  tenant.refunded -= refund;
  tenant.next_tag = tag + seconds - refund;
  own.last_tag = std::max(own.last_tag, tag);
  return true;
}

void AdmissionQueue::Restore(const QueueKey& key, uint32_t service_class,
                             uint64_t tenant) {
  Insert(key, {.service_class = service_class,
               .tenant = tenant,
               .seconds = 0,
               .tag = kPaidTag});
}

void AdmissionQueue::Insert(const QueueKey& key, const Waiting& waiting) {
  Class& own = classes_.at(waiting.service_class);
  BRAID_CHECK(waiting_.emplace(key.id, waiting).second);
  BRAID_CHECK(order_.insert(key).second);
  BRAID_CHECK(own.order.insert(key).second);
  if (own.tenants[waiting.tenant].queued++ == 0) ++own.active;
}

void AdmissionQueue::Remove(const QueueKey& key, bool served) {
  const auto it = waiting_.find(key.id);
  BRAID_CHECK(it != waiting_.end());
  const Waiting waiting = it->second;
  waiting_.erase(it);
  Class& own = classes_[waiting.service_class];
  BRAID_CHECK(order_.erase(key) == 1);
  BRAID_CHECK(own.order.erase(key) == 1);
  Tenant& tenant = own.tenants.at(waiting.tenant);
  if (served) {
    own.clock += waiting.seconds / own.active;
  } else {
    tenant.refunded += waiting.seconds;
  }
  if (--tenant.queued == 0) --own.active;
  Forget(own);
}

// With nobody waiting all are equal again. Otherwise those who have nothing in
// the queue and nothing to answer for need no entry.
void AdmissionQueue::Forget(Class& own) {
  if (own.order.empty()) {
    own.tenants.clear();
    own.clock = own.last_tag = 0;
  } else if (own.tenants.size() > kRememberedTenants + 2 * own.active) {
    absl::erase_if(own.tenants, [&](const auto& item) {
      const Tenant& tenant = item.second;
      return tenant.queued == 0 && tenant.next_tag <= own.clock;
    });
  }
}

uint32_t AdmissionQueue::size(uint32_t service_class) const {
  return static_cast<uint32_t>(classes_.at(service_class).order.size());
}

const QueueKey* AdmissionQueue::Victim(uint32_t service_class) const {
  for (size_t i = classes_.size(); i-- > size_t{service_class} + 1;) {
    if (!classes_[i].order.empty()) return &*classes_[i].order.rbegin();
  }
  return nullptr;
}

}  // namespace braid
