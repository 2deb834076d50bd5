// The scheduler's configuration and its smallest parts. The verbs are in
// scheduler_offer, _binding, _plan, _admission, _preemption, _commit and
// _devices; what they predict is in scheduler_forecast.
#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace braid {
namespace {

// Ids index a table.
constexpr uint32_t kMostDeviceIds = 1 << 16;
constexpr uint32_t kNoIndex = ~uint32_t{0};

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

// Whether the layout is the scheduler's to choose. Devices that share a pool
// hand over at no cost: there is nothing to plan.
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

}  // namespace

absl::Status Scheduler::Validate(const SchedulerConfig& config) {
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

Scheduler::Scheduler(SchedulerConfig config)
    : config_(std::move(config)),
      queue_(config_.classes),
      prompt_load_(config_.devices.size()),
      answers_(config_.classes.size()),
      decisions_(config_.decisions_kept),
      allowance_(StreamShare(config_)) {
  BRAID_CHECK(Validate(config_).ok());
  for (size_t i = 0; i < config_.pool_blocks.size(); ++i) {
    pools_.push_back(std::make_unique<KvPool>(PoolId(static_cast<uint32_t>(i)),
                                              config_.pool_blocks[i],
                                              config_.block_tokens));
  }
  links_.resize(pools_.size() * pools_.size());
  matched_.resize(pools_.size());
  times_.reserve(config_.devices.size() * config_.devices.size());
  for (const SchedulerDevice& device : config_.devices) {
    const auto index = static_cast<uint32_t>(devices_.size());
    devices_.emplace_back(device, index, config_.devices.size(),
                          config_.classes.size());
    const size_t id = device.id.value();
    if (device_index_.size() <= id) device_index_.resize(id + 1, kNoIndex);
    device_index_[id] = index;
  }
  plans_split_ = PlansSplit(config_);
}

Scheduler::~Scheduler() = default;

absl::Status Scheduler::CheckSize(size_t prompt_tokens, uint32_t max_output,
                                  const StreamTerms& streams) const {
  if (prompt_tokens == 0) {
    return absl::InvalidArgumentError("the prompt has no tokens");
  }
  const uint64_t tokens = prompt_tokens + max_output;
  if (tokens > config_.max_context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", prompt_tokens, " tokens and ", max_output,
        " are to follow, but the context holds ", config_.max_context));
  }
  const bool gang = streams.mode == StreamMode::kFixed && streams.max > 1;
  if (gang && GangSet(streams) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model has no PARSCALE weights for exactly ", streams.max,
        " streams: ask for another number, or for the mode auto"));
  }
  const uint32_t copies = gang ? streams.max : 1;
  if (gang && std::ranges::none_of(devices_, [&](const DeviceState& device) {
        return MayRunGang(device, copies);
      })) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no decode device has steps of more than ", copies, " rows"));
  }
  const uint64_t blocks = uint64_t{copies} * BlocksFor(tokens);
  for (uint32_t capacity : config_.pool_blocks) {
    if (blocks > capacity) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the request needs ", blocks, " KV blocks, but a pool has only ",
          capacity,
          ": ask for fewer tokens, or serve with a larger --kv-memory"));
    }
  }
  return absl::OkStatus();
}

const DeviceState& Scheduler::StateOf(DeviceId id) const {
  BRAID_CHECK(id.value() < device_index_.size() &&
              device_index_[id.value()] != kNoIndex);
  return devices_[device_index_[id.value()]];
}

SplitMode Scheduler::split() const {
  const bool walls = config_.static_roles && devices_.size() > 1 &&
                     config_.split == SplitMode::kAuto;
  return walls ? SplitMode::kOn : config_.split;
}

void Scheduler::Log(DecisionKind kind, const char* reason,
                    const Request& request, double predicted, double other) {
  decisions_.Add({.time = now_,
                  .kind = kind,
                  .request = request.id,
                  .prefill = request.prefill_device,
                  .decode = request.decode_device,
                  .reason = reason,
                  .predicted = predicted,
                  .other = other});
}

void Scheduler::LogDevice(DecisionKind kind, const char* reason,
                          const DeviceState& device) {
  decisions_.Add({.time = now_,
                  .kind = kind,
                  .prefill = device.config.id,
                  .decode = device.config.id,
                  .reason = reason});
}

}  // namespace braid
