// What is out of order, and until when it is left alone: devices that were
// lost, and pairs of pools between which a checksum differed. The first time is
// short; it doubles with every further failure, up to a bound, and starts over
// when the thing has worked.
//
// Thread safety: not thread-safe; engine thread only. Time is given.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace braid {

// Times that double from `first` to `longest`.
struct Backoff {
  Duration first, longest;
  // The `failures`th in a row, from 1.
  Duration After(uint32_t failures) const;
};
inline constexpr Backoff kDeviceBackoff{std::chrono::seconds(1),
                                        std::chrono::seconds(60)};
inline constexpr Backoff kPairBackoff{std::chrono::seconds(1),
                                      std::chrono::seconds(300)};

struct AvoidedPair {
  PoolId from, to;
  TimePoint until;
  uint32_t failures = 0;  // in a row
};

class Outages final {
 public:
  // Returns when to try the device again.
  TimePoint DeviceLost(DeviceId device, TimePoint now);
  void DeviceWorked(DeviceId device);
  // Those whose time has come, which are lost no longer.
  std::vector<DeviceId> TakeDue(TimePoint now);

  // Returns until when to avoid the pair.
  TimePoint PairFailed(PoolId from, PoolId to, TimePoint now);
  // Counts only once it is used again: what was under way when it failed says
  // nothing.
  void PairWorked(PoolId from, PoolId to, TimePoint now);

  // When something will be tried again; kNever.
  TimePoint Next(TimePoint now) const;

  std::vector<AvoidedPair> avoided(TimePoint now) const;

 private:
  struct State {
    uint32_t failures = 0;
    TimePoint until;
    bool lost = false;  // of devices
  };
  // Entries exist only for what has failed since it last worked.
  std::map<DeviceId, State> devices_;
  std::map<std::pair<PoolId, PoolId>, State> pairs_;
};

}  // namespace braid
