// The last decisions and their reasons: a bounded ring, shown by
// /debug/decisions and by a request's own stage times. Plain values; text is
// made by whoever shows them.
//
// Thread safety: engine thread only; copied out by Since.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace braid {

enum class DecisionKind : uint8_t {
  kPlaced,     // split or not, where, and why
  kRefused,    // on arrival
  kShed,       // from the queue
  kPreempted,  // back to the queue
  kRole,       // a device works for the other pool from now on
  kDevice,     // lost, or back
  kPair,       // a link is avoided, or used again
  kStreams,    // a gang is chosen or given up; streams give their blocks back
};
const char* ToString(DecisionKind kind);

struct Decision {
  uint64_t sequence = 0;  // 1, 2, 3 ... over the life of the process
  TimePoint time;
  DecisionKind kind = DecisionKind::kPlaced;
  RequestId request;  // 0: it is about a device
  DeviceId prefill, decode;
  const char* reason = "";  // a constant: "bypass-faster", "queue-full" ...
  // What it was weighed on; seconds. Meaning by kind: placed: predicted TTFT
  // and damage; refused: predicted TTFT and Retry-After; preempted: predicted
  // cost of computing it again, and what it makes room for; streams: how many.
  double predicted = 0, other = 0;
};
// "#17 12.031 s placed r3 d0>d1 split-faster 0.31 s, damage 0.00 s"
std::string ToString(const Decision& decision);

class DecisionLog final {
 public:
  explicit DecisionLog(size_t capacity);

  void Add(Decision decision);  // fills in `sequence`
  // Those after `sequence` that are still kept, oldest first.
  std::vector<Decision> Since(uint64_t sequence) const;
  uint64_t last_sequence() const { return last_; }

 private:
  std::vector<Decision> ring_;
  uint64_t last_ = 0;
};

}  // namespace braid
