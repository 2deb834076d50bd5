#include "scheduler/stream_terms.h"

namespace braid {

const char* ToString(StreamMode mode) {
  switch (mode) {
    case StreamMode::kOff:
      return "off";
    case StreamMode::kAuto:
      return "auto";
    case StreamMode::kFixed:
      return "fixed";
  }
  return "?";
}

}  // namespace braid
