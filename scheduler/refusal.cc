#include "scheduler/refusal.h"

namespace braid {

const char* ToString(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kQueueFull:
      return "queue-full";
    case RefusalReason::kOverload:
      return "overload";
    case RefusalReason::kTooLate:
      return "too-late";
    case RefusalReason::kShed:
      return "shed";
    case RefusalReason::kNoDevice:
      return "no-device";
  }
  return "?";
}

}  // namespace braid
