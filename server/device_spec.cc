#include "server/device_spec.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include <sched.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace braid::server {
namespace {

constexpr int kMaxCore = 4095;

absl::Status Malformed(absl::string_view part) {
  return absl::InvalidArgumentError(
      absl::StrCat("--devices: cannot read '", part,
                   "'; write e.g. prefill=cpu:0-3,decode=cpu:4-7 or cpu:0+2"));
}

absl::StatusOr<std::vector<int>> ParseCores(absl::string_view text,
                                            absl::string_view whole) {
  std::set<int> cores;
  for (absl::string_view range : absl::StrSplit(text, '+')) {
    std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(range, absl::MaxSplits('-', 1));
    const bool single = range.find('-') == absl::string_view::npos;
    int first = 0, last = 0;
    if (!absl::SimpleAtoi(ends.first, &first) ||
        !absl::SimpleAtoi(single ? ends.first : ends.second, &last) ||
        first < 0 || last < first || last > kMaxCore) {
      return Malformed(whole);
    }
    for (int core = first; core <= last; ++core) cores.insert(core);
  }
  return std::vector<int>(cores.begin(), cores.end());
}

// "0-3+5" for {0,1,2,3,5}.
std::string CoresToString(const std::vector<int>& cores) {
  std::vector<std::string> ranges;
  for (size_t i = 0; i < cores.size();) {
    size_t end = i + 1;
    while (end < cores.size() && cores[end] == cores[end - 1] + 1) ++end;
    ranges.push_back(end - i == 1
                         ? absl::StrCat(cores[i])
                         : absl::StrCat(cores[i], "-", cores[end - 1]));
    i = end;
  }
  return absl::StrJoin(ranges, "+");
}

DeviceSpec MakeSpec(DeviceRole role, std::vector<int> cores) {
  return {role, absl::StrCat("cpu:", CoresToString(cores)), std::move(cores)};
}

absl::StatusOr<DeviceSpec> ParseDevice(absl::string_view part) {
  DeviceRole role = DeviceRole::kBoth;
  absl::string_view device = part;
  if (absl::ConsumePrefix(&device, "prefill=")) {
    role = DeviceRole::kPrefill;
  } else if (absl::ConsumePrefix(&device, "decode=")) {
    role = DeviceRole::kDecode;
  } else {
    absl::ConsumePrefix(&device, "both=");
  }
  if (!absl::ConsumePrefix(&device, "cpu:")) return Malformed(part);
  BRAID_ASSIGN_OR_RETURN(std::vector<int> cores, ParseCores(device, part));
  return MakeSpec(role, std::move(cores));
}

}  // namespace

absl::StatusOr<std::vector<DeviceSpec>> ParseDevices(
    absl::string_view text, const std::vector<int>& available) {
  std::vector<DeviceSpec> devices;
  std::set<int> taken;
  bool prefill = false, decode = false;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    BRAID_ASSIGN_OR_RETURN(DeviceSpec device,
                           ParseDevice(absl::StripAsciiWhitespace(part)));
    for (int core : device.cores) {
      if (!std::binary_search(available.begin(), available.end(), core)) {
        return absl::InvalidArgumentError(
            absl::StrCat("--devices: this process may not run on core ", core,
                         "; it has cores ", CoresToString(available)));
      }
      if (!taken.insert(core).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("--devices: core ", core,
                         " belongs to two devices; name each core once"));
      }
    }
    prefill |= device.role != DeviceRole::kDecode;
    decode |= device.role != DeviceRole::kPrefill;
    devices.push_back(std::move(device));
  }
  if (!prefill || !decode) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--devices: no device would ", prefill ? "decode" : "prefill", "; add ",
        prefill ? "decode" : "prefill", "=cpu:... or drop the role"));
  }
  return devices;
}

std::vector<DeviceSpec> DefaultDevices(std::vector<int> available) {
  std::vector<DeviceSpec> devices;
  if (available.size() < 2) {
    devices.push_back(MakeSpec(DeviceRole::kBoth, std::move(available)));
    return devices;
  }
  const auto middle =
      available.begin() + static_cast<std::ptrdiff_t>(available.size() / 2);
  devices.push_back(
      MakeSpec(DeviceRole::kPrefill, {available.begin(), middle}));
  devices.push_back(MakeSpec(DeviceRole::kDecode, {middle, available.end()}));
  return devices;
}

std::string ToString(const std::vector<DeviceSpec>& devices) {
  return absl::StrJoin(devices, ",",
                       [](std::string* out, const DeviceSpec& device) {
                         switch (device.role) {
                           case DeviceRole::kPrefill:
                             absl::StrAppend(out, "prefill=");
                             break;
                           case DeviceRole::kDecode:
                             absl::StrAppend(out, "decode=");
                             break;
                           case DeviceRole::kBoth:
                             break;
                         }
                         absl::StrAppend(out, device.name);
                       });
}

std::vector<int> AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

}  // namespace braid::server
