#include "scheduler/admission_queue.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<ServiceClass> Classes() {
  return {{.name = "interactive", .ttft = seconds(2), .max_queued = 200},
          {.name = "batch", .ttft = seconds(60), .max_queued = 200}};
}

TimePoint At(double s) {
  return TimePoint(
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s)));
}

QueueEntry Entry(uint64_t id, double arrival, uint64_t tenant = 0) {
  return {.id = RequestId(id),
          .tenant = tenant,
          .arrival = At(arrival),
          .seconds = 0.1};
}

std::vector<uint64_t> Order(const AdmissionQueue& queue) {
  std::vector<uint64_t> ids;
  for (const QueueKey& key : queue) ids.push_back(key.id.value());
  return ids;
}

QueueKey Push(AdmissionQueue& queue, const QueueEntry& entry) {
  QueueKey key;
  EXPECT_TRUE(queue.Push(entry, &key));
  return key;
}

TEST(AdmissionQueueTest, DueThenPriorityThenArrival) {
  AdmissionQueue queue(Classes());
  QueueEntry batch = Entry(1, 0);
  batch.service_class = 1;
  Push(queue, batch);
  Push(queue, Entry(2, 10.01));
  QueueEntry urgent = Entry(3, 10.02);  // in the same slot of 250 ms
  urgent.priority = 1;
  Push(queue, urgent);
  Push(queue, Entry(4, 10.30));
  QueueEntry hurried = Entry(5, 10.31);
  hurried.deadline = At(11);
  Push(queue, hurried);
  EXPECT_EQ(Order(queue), (std::vector<uint64_t>{5, 3, 2, 4, 1}));
  // The batch request's turn comes.
  Push(queue, Entry(6, 59));
  EXPECT_EQ(Order(queue).back(), 6u);
}

TEST(AdmissionQueueTest, BoundsAndVictims) {
  AdmissionQueue queue({{.name = "a", .ttft = seconds(1), .max_queued = 1},
                        {.name = "b", .ttft = seconds(1), .max_queued = 2}});
  EXPECT_EQ(queue.Victim(0), nullptr);
  const QueueKey a = Push(queue, Entry(1, 0));
  QueueKey key;
  EXPECT_FALSE(queue.Push(Entry(2, 0), &key));
  EXPECT_EQ(queue.Victim(0), nullptr);
  QueueEntry b = Entry(3, 0);
  b.service_class = 1;
  Push(queue, b);
  b.id = RequestId(4);
  const QueueKey last = Push(queue, b);
  EXPECT_EQ(*queue.Victim(0), last);
  EXPECT_EQ(queue.Victim(1), nullptr);
  queue.Remove(a, true);
  // A preempted one comes back though its class is full.
  Push(queue, Entry(5, 0));
  queue.Restore(a, 0, 0);
  EXPECT_EQ(queue.size(0), 2u);
  EXPECT_EQ(queue.size(1), 2u);
  EXPECT_EQ(Order(queue).front(), 1u);
}

// The definition, written as plainly as it can be: a list, searched.
class NaiveQueue {
 public:
  explicit NaiveQueue(std::vector<ServiceClass> classes)
      : classes_(std::move(classes)), clock_(classes_.size()) {}

  bool Push(const QueueEntry& entry) {
    const uint32_t own = entry.service_class;
    if (Count(own) >= classes_[own].max_queued) return false;
    Item item{.service_class = own,
              .tenant = entry.tenant,
              .seconds = std::max(entry.seconds, 1e-6)};
    const Duration slot = classes_[own].ttft / 8;
    TimePoint due = entry.arrival + classes_[own].ttft;
    if (entry.deadline != kNever) {
      due = std::min(due, entry.deadline -
                              std::chrono::duration_cast<Duration>(
                                  std::chrono::duration<double>(item.seconds)));
    }
    int64_t slots = due.time_since_epoch() / slot;
    while (TimePoint(slots * slot) > due) --slots;
    item.key = {.due = TimePoint(slots * slot),
                .urgency = -int64_t{entry.priority},
                .arrival = entry.arrival,
                .place = entry.id,
                .id = entry.id};
    Tenant& tenant = tenants_[own][entry.tenant];
    item.tag = std::max(clock_[own], tenant.next_tag - tenant.refund);
    if (std::ranges::any_of(items_, [&](const Item& other) {
          return other.service_class == own && other.tenant == entry.tenant;
        })) {
      item.tag = std::max(item.tag, tenant.last_tag);
    }
    for (const Item& other : items_) {  // in order
      if (other.service_class == own && other.tag > item.tag) {
        if (other.key < item.key) {
          item.key = other.key;
          item.key.id = entry.id;
        }
        break;
      }
    }
    tenant.refund -= std::max(0.0, tenant.next_tag - item.tag);
    tenant.refund = std::clamp(tenant.refund, 0.0, item.tag - clock_[own]);
    tenant.last_tag = item.tag;
    tenant.next_tag = item.tag + item.seconds;
    Add(item);
    return true;
  }

  void Restore(const QueueKey& key, uint32_t service_class, uint64_t tenant) {
    Add({.key = key,
         .service_class = service_class,
         .tenant = tenant,
         .tag = -1});
  }

  void Remove(const QueueKey& key, bool served) {
    const auto it = std::ranges::find(items_, key, &Item::key);
    const Item item = *it;
    std::set<uint64_t> active;
    for (const Item& other : items_) {
      if (other.service_class == item.service_class) {
        active.insert(other.tenant);
      }
    }
    items_.erase(it);
    if (served) {
      clock_[item.service_class] += item.seconds / active.size();
    } else {
      tenants_[item.service_class][item.tenant].refund += item.seconds;
    }
    if (Count(item.service_class) == 0) {
      clock_[item.service_class] = 0;
      tenants_[item.service_class].clear();
    }
  }

  const QueueKey* Victim(uint32_t service_class) const {
    const Item* worst = nullptr;
    for (const Item& item : items_) {
      if (item.service_class > service_class &&
          (worst == nullptr || item.service_class >= worst->service_class)) {
        worst = &item;
      }
    }
    return worst == nullptr ? nullptr : &worst->key;
  }

  size_t Count(uint32_t service_class) const {
    return std::ranges::count(items_, service_class, &Item::service_class);
  }
  std::vector<QueueKey> Keys() const {
    std::vector<QueueKey> keys;
    for (const Item& item : items_) keys.push_back(item.key);
    return keys;
  }
  uint32_t ClassOf(size_t i) const { return items_[i].service_class; }
  uint64_t TenantOf(size_t i) const { return items_[i].tenant; }

 private:
  struct Item {
    QueueKey key;
    uint32_t service_class;
    uint64_t tenant;
    double seconds = 0;
    double tag;
  };
  void Add(const Item& item) {
    items_.push_back(item);
    std::ranges::sort(items_, {}, &Item::key);
  }

  std::vector<ServiceClass> classes_;
  std::vector<Item> items_;
  std::vector<double> clock_;
  struct Tenant {
    double last_tag = 0, next_tag = 0, refund = 0;
  };
  std::map<uint32_t, std::map<uint64_t, Tenant>> tenants_;
};

TEST(AdmissionQueueTest, EqualsTheDefinitionOnRandomOperations) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    std::vector<ServiceClass> classes = {
        {.name = "a", .ttft = seconds(2), .max_queued = 40},
        {.name = "b", .ttft = milliseconds(700), .max_queued = 20},
        {.name = "c", .ttft = seconds(60), .max_queued = 30}};
    AdmissionQueue queue(classes);
    NaiveQueue naive(classes);
    struct Gone {
      QueueKey key;
      uint32_t service_class;
      uint64_t tenant;
    };
    std::vector<Gone> admitted;
    double now = 1;
    uint64_t next_id = 1;
    const uint64_t busy = 1 + rng.Below(9);
    for (int step = 0; step < 200; ++step) {
      now += rng.Below(3) == 0 ? 0.05 * rng.Uniform() : 0;
      const uint64_t dice = rng.Below(10);
      if (dice < busy) {
        QueueEntry entry{.id = RequestId(next_id++),
                         .service_class = static_cast<uint32_t>(rng.Below(3)),
                         .tenant = rng.Below(4),
                         .priority = static_cast<int32_t>(rng.Below(3)) - 1,
                         .arrival = At(now - 0.1 * rng.Below(2)),
                         .seconds = rng.Below(5) * 0.25};
        if (rng.Below(4) == 0) entry.deadline = At(now + 3 * rng.Uniform());
        const QueueKey expected = queue.KeyOf(entry);
        QueueKey key;
        const bool taken = queue.Push(entry, &key);
        ASSERT_EQ(taken, naive.Push(entry));
        if (taken) {
          ASSERT_EQ(key, expected);
        }
      } else if (dice == 9 && !admitted.empty()) {
        const size_t i = rng.Below(admitted.size());
        const Gone gone = admitted[i];
        admitted.erase(admitted.begin() + i);
        queue.Restore(gone.key, gone.service_class, gone.tenant);
        naive.Restore(gone.key, gone.service_class, gone.tenant);
      } else if (queue.size() > 0) {
        const bool served = rng.Below(3) != 0;
        const size_t i =
            served && rng.Below(4) != 0 ? 0 : rng.Below(queue.size());
        const QueueKey key = naive.Keys()[i];
        if (served) {
          admitted.push_back({key, naive.ClassOf(i), naive.TenantOf(i)});
        }
        queue.Remove(key, served);
        naive.Remove(key, served);
      }
      ASSERT_EQ(std::vector(queue.begin(), queue.end()), naive.Keys())
          << "seed " << seed << " step " << step;
      for (uint32_t c = 0; c < 3; ++c) {
        ASSERT_EQ(queue.size(c), naive.Count(c));
        const QueueKey* victim = queue.Victim(c);
        const QueueKey* expected = naive.Victim(c);
        ASSERT_EQ(victim == nullptr, expected == nullptr);
        if (victim != nullptr) {
          ASSERT_EQ(*victim, *expected);
        }
      }
    }
  }
}

// One tenant: the order is that of (slot of the due time, priority, arrival),
// whatever was served or withdrawn before.
TEST(AdmissionQueueTest, ATenantAloneIsNeverPutOff) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    AdmissionQueue queue(Classes());
    using Plain = std::tuple<int64_t, int64_t, double, uint64_t>;
    std::map<uint64_t, Plain> expected;
    for (uint64_t id = 1; id <= 300; ++id) {
      const double now = static_cast<double>(id) * 0.03;
      QueueEntry entry = Entry(id, now, 5);
      entry.priority = static_cast<int32_t>(rng.Below(3));
      entry.seconds = rng.Uniform();
      double due = now + 2;
      if (rng.Below(3) == 0) {
        due = now + rng.Uniform();
        entry.deadline = At(due + entry.seconds);
      }
      QueueKey key;
      if (queue.Push(entry, &key)) {
        expected[id] = {std::llround(std::floor((due + 1e-8) / 0.25)),
                        -entry.priority, now, id};
      }
      if (rng.Below(2) == 0) {
        const QueueKey first = *queue.begin();
        expected.erase(first.id.value());
        queue.Remove(first, rng.Below(3) != 0);
      }
    }
    std::vector<Plain> sorted;
    for (const auto& [id, plain] : expected) sorted.push_back(plain);
    std::ranges::sort(sorted);
    std::vector<uint64_t> ids;
    for (const Plain& plain : sorted) ids.push_back(std::get<3>(plain));
    EXPECT_EQ(Order(queue), ids) << seed;
  }
}

TEST(AdmissionQueueTest, AFloodDoesNotDelayAnothersRequest) {
  AdmissionQueue queue(Classes());
  for (uint64_t i = 1; i <= 100; ++i) Push(queue, Entry(i, 0, 7));
  for (uint64_t i = 1; i <= 40; ++i) queue.Remove(*queue.begin(), true);
  Push(queue, Entry(1000, 4, 8));
  const std::vector<uint64_t> order = Order(queue);
  EXPECT_LE(std::ranges::find(order, 1000u) - order.begin(), 2);
}

TEST(AdmissionQueueTest, TwoBurstsShare) {
  AdmissionQueue queue(Classes());
  for (uint64_t i = 0; i < 100; ++i) Push(queue, Entry(1 + i, 0, 7));
  for (uint64_t i = 0; i < 50; ++i) Push(queue, Entry(1001 + i, 0.01, 8));
  int ahead = 0;  // of those of 7 over those of 8
  for (int i = 0; i < 100; ++i) {
    const QueueKey key = *queue.begin();
    queue.Remove(key, true);
    ahead += key.id.value() < 1000 ? 1 : -1;
    EXPECT_LE(std::abs(ahead), 3) << i;
  }
}

// A request of the lower class is served in its turn, though better ones arrive
// faster than they can be served.
TEST(AdmissionQueueTest, ABatchRequestIsServedUnderEndlessLoad) {
  AdmissionQueue queue({{.name = "a", .ttft = seconds(2), .max_queued = 5000},
                        {.name = "b", .ttft = seconds(60), .max_queued = 9}});
  QueueEntry batch = Entry(1, 0, 3);
  batch.service_class = 1;
  Push(queue, batch);
  double now = 0;
  for (uint64_t id = 2;; ++id) {
    Push(queue, Entry(id, now, id % 5));
    now += 0.1;
    if (id % 8 == 0) continue;  // served a little slower than they come
    const QueueKey first = *queue.begin();
    queue.Remove(first, true);
    if (first.id == RequestId(1)) break;
    ASSERT_LT(now, 100);
  }
  EXPECT_GT(now, 55);  // and no sooner than is right
}

// New tenants come all the time, each with its first request, as fast as
// requests are served. Who waits with several still gets its turns: one in as
// many as there are tenants.
TEST(AdmissionQueueTest, NewcomersDoNotStarveWhoIsThere) {
  AdmissionQueue queue(Classes());
  for (uint64_t id = 1; id <= 10; ++id) Push(queue, Entry(id, 0, 1));
  int left = 10;
  uint64_t turns = 0;
  for (; left > 0; ++turns) {
    ASSERT_LT(turns, 10u * 10);
    Push(queue,
         Entry(100 + turns, 0.1 * static_cast<double>(turns), 100 + turns));
    const QueueKey first = *queue.begin();
    if (first.id.value() <= 10) --left;
    queue.Remove(first, true);
  }
  EXPECT_GT(turns, 20u);  // and the newcomers get theirs
}

// A tenant that withdraws what it queued is not charged for it.
TEST(AdmissionQueueTest, WithdrawnRequestsAreRefunded) {
  AdmissionQueue queue(Classes());
  std::vector<QueueKey> mine;
  for (uint64_t id = 1; id <= 20; ++id) {
    mine.push_back(Push(queue, Entry(id, 0, 1)));
  }
  for (uint64_t id = 101; id <= 110; ++id) Push(queue, Entry(id, 0, 2));
  for (const QueueKey& key : mine) queue.Remove(key, false);
  // Both have been given nothing, and tenant 2 has ten waiting: the turn of 1
  // comes after the first of these.
  Push(queue, Entry(200, 1, 1));
  const std::vector<uint64_t> order = Order(queue);
  EXPECT_LE(std::ranges::find(order, 200u) - order.begin(), 2);
}

TEST(AdmissionQueueTest, ShowsManyTenantsTheDoor) {
  AdmissionQueue queue(
      {{.name = "a", .ttft = seconds(2), .max_queued = 100000}});
  for (uint64_t id = 1; id <= 20000; ++id) {
    Push(queue, Entry(id, 1e-3 * static_cast<double>(id), id));
    if (id > 1000) queue.Remove(*queue.begin(), true);
  }
  EXPECT_EQ(queue.size(), 1000u);
}

}  // namespace
}  // namespace braid
