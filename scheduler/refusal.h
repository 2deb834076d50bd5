// Why a request is not served, and when asking again is worth it.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace braid {

enum class RefusalReason : uint8_t {
  kQueueFull,  // its class's queue is
  kOverload,   // its class's TTFT target cannot be met
  kTooLate,    // its deadline cannot be met
  kShed,       // a better class needs its place in the queue
  kNoDevice,   // no device can ever take it as things are
};
const char* ToString(RefusalReason reason);

struct Refusal {
  RequestId request;
  RefusalReason reason = RefusalReason::kQueueFull;
  double predicted_ttft = 0;  // seconds
  // Seconds until the same request would likely be taken: from the modelled
  // drain. > 0.
  double retry_after = 0;
};

}  // namespace braid
