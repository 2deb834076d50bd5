// Virtual time: what happens next, in one order that a seed fixes. Events run
// by (time, sequence), so events of one instant run as they were scheduled.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"

namespace braid {

class EventQueue final {
 public:
  using Action = std::function<void()>;

  EventQueue() : now_(std::chrono::seconds(1)) {}
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  TimePoint now() const { return now_; }
  uint64_t executed() const { return executed_; }
  size_t pending() const { return heap_.size() - dropped_; }

  // Time passes and nothing happens meanwhile: what was due runs late.
  void Jump(Duration by) { now_ += by; }
  // Runs the next event. False: there is none.
  bool RunNext();

 private:
  friend class EventScope;
  struct Event {
    TimePoint time;
    uint64_t sequence;
    uint32_t scope;
    Action action;
  };
  struct Scope {
    bool alive = true;
    uint32_t pending = 0;
  };
  static bool Later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
  }

  TimePoint now_;
  uint64_t next_sequence_ = 0;
  uint64_t executed_ = 0;
  size_t dropped_ = 0;  // of heap_: their scope is gone
  std::vector<Event> heap_;
  std::vector<Scope> scopes_;
};

// The events of one owner. When it goes, what it has scheduled does not happen.
class EventScope final {
 public:
  explicit EventScope(EventQueue& queue);
  ~EventScope();
  EventScope(const EventScope&) = delete;
  EventScope& operator=(const EventScope&) = delete;

  EventQueue& queue() const { return queue_; }
  TimePoint now() const { return queue_.now(); }
  // A time that has passed is now.
  void At(TimePoint time, EventQueue::Action action);
  void After(Duration delay, EventQueue::Action action) {
    At(now() + delay, std::move(action));
  }

 private:
  EventQueue& queue_;
  const uint32_t index_;
};

// The clock of one machine: it may be ahead of others, and jump ahead.
class VirtualClock final : public Clock {
 public:
  explicit VirtualClock(const EventQueue& queue) : queue_(queue) {}
  TimePoint Now() const override { return queue_.now() + ahead_; }
  void Jump(Duration by) { ahead_ += by; }
  // When the queue's time is, that this clock shows as `time`.
  TimePoint QueueTime(TimePoint time) const { return time - ahead_; }

 private:
  const EventQueue& queue_;
  Duration ahead_{0};
};

}  // namespace braid
