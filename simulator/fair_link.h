// A link of a bandwidth that everyone who sends over it at one moment shares
// evenly (processor sharing).
//
// Instead of following every flow, it follows the bytes that each of them has
// been given since the link existed: a flow is done when that number has grown
// by its size. So a change of the number of flows costs O(log n).
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "simulator/event_queue.h"

namespace braid {

class FairLink final {
 public:
  FairLink(EventQueue& queue, double bytes_per_second);

  // `sent` is called when the last byte has left.
  void Send(uint64_t bytes, std::function<void()> sent);

 private:
  void Advance();
  void Arm();

  EventQueue& queue_;
  const double bytes_per_second_;
  double served_ = 0;  // bytes, of each flow, since the beginning
  TimePoint served_at_;
  // By the value of served_ at which they are done.
  std::multimap<double, std::function<void()>> flows_;
  std::unique_ptr<EventScope> next_;
};

}  // namespace braid
