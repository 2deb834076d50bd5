#include "scheduler/split.h"

namespace braid {

const char* ToString(SplitMode mode) {
  switch (mode) {
    case SplitMode::kAuto:
      return "auto";
    case SplitMode::kOn:
      return "on";
    case SplitMode::kOff:
      return "off";
  }
  return "?";
}

const char* ToString(DeviceRole role) {
  switch (role) {
    case DeviceRole::kPrefill:
      return "prefill";
    case DeviceRole::kDecode:
      return "decode";
    case DeviceRole::kBoth:
      return "both";
  }
  return "?";
}

}  // namespace braid
