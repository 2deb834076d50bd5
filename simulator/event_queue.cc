#include "simulator/event_queue.h"

#include <algorithm>
#include <utility>

namespace braid {

bool EventQueue::RunNext() {
  while (!heap_.empty()) {
    std::ranges::pop_heap(heap_, Later);
    Event event = std::move(heap_.back());
    heap_.pop_back();
    Scope& scope = scopes_[event.scope];
    if (!scope.alive) {
      --dropped_;
      continue;
    }
    --scope.pending;
    now_ = std::max(now_, event.time);
    ++executed_;
    event.action();
    return true;
  }
  return false;
}

EventScope::EventScope(EventQueue& queue)
    : queue_(queue), index_(static_cast<uint32_t>(queue.scopes_.size())) {
  queue_.scopes_.emplace_back();
}

EventScope::~EventScope() {
  EventQueue::Scope& scope = queue_.scopes_[index_];
  scope.alive = false;
  queue_.dropped_ += scope.pending;
}

void EventScope::At(TimePoint time, EventQueue::Action action) {
  queue_.heap_.push_back({std::max(time, queue_.now_), queue_.next_sequence_++,
                          index_, std::move(action)});
  std::ranges::push_heap(queue_.heap_, EventQueue::Later);
  ++queue_.scopes_[index_].pending;
}

}  // namespace braid
