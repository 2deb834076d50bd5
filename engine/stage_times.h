// Where a request's time goes. Its stages follow each other without gaps and
// are stamped with one clock, so they sum to its wall time exactly; each may
// occur several times, since a request that is preempted, or whose device is
// lost, is in the queue again.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <array>
#include <cstdint>

#include "base/clock.h"

namespace braid {

enum class Stage : uint8_t {
  kQueue,        // not admitted
  kPrefillWait,  // admitted; no step computes its prompt
  kPrefill,      // a step does
  kTransfer,     // prompt computed, KV on its way to the decode device
  kDecodeWait,   // may decode; no step has a row of it
  kDecode,       // a step has
};
inline constexpr int kStageCount = 6;
const char* ToString(Stage stage);  // "prefill_wait"

struct StageTimes {
  TimePoint received, finished;
  TimePoint first_token;                      // `finished` when there was none
  std::array<Duration, kStageCount> spent{};  // sums to finished - received

  Duration operator[](Stage stage) const {
    return spent[static_cast<size_t>(stage)];
  }
};

class StageClock final {
 public:
  explicit StageClock(TimePoint received);

  Stage stage() const { return stage_; }
  TimePoint received() const { return times_.received; }

  // The request is in `stage` from now on; no news when it is there already.
  void Enter(Stage stage, TimePoint now);
  // Tells of the first one only.
  void TokenDrawn(TimePoint now);
  StageTimes Finish(TimePoint now);

 private:
  StageTimes times_;
  Stage stage_ = Stage::kQueue;
  // A request can be received while the turn that takes it is under way: time
  // that is before that counts as that.
  TimePoint since_;
  bool has_token_ = false;
};

}  // namespace braid
