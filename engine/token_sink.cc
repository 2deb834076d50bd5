#include "engine/token_sink.h"

namespace braid {

const char* ToString(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kFailed:
      return "failed";
    case FinishReason::kRefused:
      return "refused";
  }
  return "?";
}

}  // namespace braid
