// Which cores make up which device: the value of --devices.
//
//   prefill=cpu:0,decode=cpu:1          one core each
//   prefill=cpu:0-3,decode=cpu:4-7      ranges
//   prefill=cpu:0+2,decode=cpu:1+3      lists
//   cpu:0-7                             one device for both phases
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/engine.h"

namespace braid::server {

struct DeviceSpec {
  DeviceRole role = DeviceRole::kBoth;
  std::string name;        // "cpu:0-3", also the label of metrics
  std::vector<int> cores;  // ascending
  friend bool operator==(const DeviceSpec&, const DeviceSpec&) = default;
};

// INVALID_ARGUMENT when the text is malformed, a core is named twice or is not
// in `available`, or no device would prefill or none decode.
absl::StatusOr<std::vector<DeviceSpec>> ParseDevices(
    absl::string_view text, const std::vector<int>& available);

// First half of the cores prefills, second half decodes; one core does both.
std::vector<DeviceSpec> DefaultDevices(std::vector<int> available);

std::string ToString(const std::vector<DeviceSpec>& devices);

// The processors this process may run on (sched_getaffinity), ascending.
std::vector<int> AvailableCores();

}  // namespace braid::server
