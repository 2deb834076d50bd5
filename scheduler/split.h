// Whether the two phases of a request run on two devices, and what a device is
// meant for. Values of the configuration.
#pragma once

#include <cstdint>

namespace braid {

enum class SplitMode : uint8_t {
  kAuto,  // split, except where bypassing the hand-over is predicted better
  kOn,    // prefill on prefill devices only, decode on decode devices only
  kOff,   // both phases on one device, in mixed steps; roles do not matter
};
const char* ToString(SplitMode mode);

// A preference, not a wall: which phase a device is meant for.
enum class DeviceRole : uint8_t { kPrefill, kDecode, kBoth };
const char* ToString(DeviceRole role);

}  // namespace braid
