#include "scheduler/scheduler_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace braid {
namespace {

// Ids index a table.
constexpr uint32_t kMostDeviceIds = 1 << 16;

absl::Status CheckClasses(const std::vector<ServiceClass>& classes) {
  if (classes.empty()) {
    return absl::InvalidArgumentError("there is no class of requests");
  }
  for (const ServiceClass& promise : classes) {
    if (promise.ttft <= Duration::zero() || promise.tpot <= Duration::zero() ||
        promise.max_queued == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "class ", promise.name, " needs targets and a queue of more than 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSets(const std::vector<StreamSet>& sets) {
  for (const StreamSet& set : sets) {
    if (set.id == 0 || set.streams < 2 || set.streams > kMostStreams) {
      return absl::InvalidArgumentError(
          absl::StrCat("PARSCALE set ", set.id, " has ", set.streams,
                       " streams, not 2 to ", kMostStreams));
    }
    if (set.gain.size() != set.streams || set.gain[0] != 0 ||
        !std::ranges::is_sorted(set.gain)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the gains of PARSCALE set ", set.id,
                       " must be one per stream, from 0 on, and never fall"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDevices(const SchedulerConfig& config) {
  const auto invalid = [](auto&&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(parts...));
  };
  if (config.devices.empty()) return invalid("no device is configured");
  bool prefill = false, decode = false;
  for (size_t i = 0; i < config.devices.size(); ++i) {
    const SchedulerDevice& device = config.devices[i];
    if (device.id.value() >= kMostDeviceIds) {
      return invalid("device id ", device.id.value(), " is too large");
    }
    if (device.pool.value() >= config.pool_blocks.size()) {
      return invalid("device ", i, " has unknown pool ", device.pool.value());
    }
    if (device.max_rows < 2) {
      return invalid("device ", i, " must take at least 2 rows a step");
    }
    for (size_t j = 0; j < i; ++j) {
      if (config.devices[j].id == device.id) {
        return invalid("device id ", device.id.value(), " is used twice");
      }
    }
    prefill |= device.role != DeviceRole::kDecode;
    decode |= device.role != DeviceRole::kPrefill;
  }
  if (config.split == SplitMode::kOff || config.devices.size() == 1) {
    return config.split == SplitMode::kOn
               ? invalid("--split on needs two devices: one for each phase")
               : absl::OkStatus();
  }
  if (!prefill) return invalid("no device may prefill: see --devices");
  if (!decode) return invalid("no device may decode: see --devices");
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const SchedulerConfig& config) {
  const auto positive = [](uint32_t value, const char* name) {
    return value > 0 ? absl::OkStatus()
                     : absl::InvalidArgumentError(
                           absl::StrCat(name, " must not be 0"));
  };
  for (const absl::Status& status :
       {positive(config.block_tokens, "block_tokens"),
        positive(config.max_context, "max_context"),
        positive(config.prefill_chunk, "prefill_chunk"),
        positive(config.max_running, "max_running"),
        positive(config.max_queued, "max_queued"),
        positive(config.decisions_kept, "decisions_kept"),
        CheckClasses(config.classes), CheckSets(config.stream_sets),
        CheckDevices(config)}) {
    if (!status.ok()) return status;
  }
  if (!config.placement) {
    return absl::InvalidArgumentError("there is no placement policy");
  }
  return absl::OkStatus();
}

bool PlansSplit(const SchedulerConfig& config) {
  if (config.split != SplitMode::kAuto || config.static_roles ||
      config.devices.size() < 2) {
    return false;
  }
  for (size_t i = 0; i < config.devices.size(); ++i) {
    const SchedulerDevice& device = config.devices[i];
    if (device.role != DeviceRole::kBoth) return false;
    for (size_t j = 0; j < i; ++j) {
      if (config.devices[j].pool == device.pool) return false;
    }
  }
  return true;
}

const StreamSet* GangSet(const SchedulerConfig& config,
                         const StreamTerms& terms) {
  for (const StreamSet& set : config.stream_sets) {
    if (set.streams == terms.max || (set.elastic && set.streams > terms.max)) {
      return &set;
    }
  }
  return nullptr;
}

}  // namespace braid
