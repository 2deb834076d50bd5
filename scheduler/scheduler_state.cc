#include "scheduler/scheduler_state.h"

#include "base/check.h"
#include "scheduler/owing.h"

namespace braid {
namespace {

constexpr uint32_t kNoIndex = ~uint32_t{0};

}  // namespace

SchedulerState::SchedulerState(SchedulerConfig given)
    : config(std::move(given)),
      queue(config.classes),
      decisions(config.decisions_kept),
      answers(config.classes.size()),
      prompt_load(config.devices.size()),
      allowance(StreamShare(config)) {
  BRAID_CHECK(Validate(config).ok());
  for (size_t i = 0; i < config.pool_blocks.size(); ++i) {
    pools.push_back(std::make_unique<KvPool>(PoolId(static_cast<uint32_t>(i)),
                                             config.pool_blocks[i],
                                             config.block_tokens));
  }
  links.resize(pools.size() * pools.size());
  for (const SchedulerDevice& device : config.devices) {
    const auto index = static_cast<uint32_t>(devices.size());
    devices.emplace_back(device, index, config.devices.size(),
                         config.classes.size());
    const size_t id = device.id.value();
    if (device_index.size() <= id) device_index.resize(id + 1, kNoIndex);
    device_index[id] = index;
  }
}

const DeviceState& SchedulerState::Device(DeviceId id) const {
  BRAID_CHECK(id.value() < device_index.size() &&
              device_index[id.value()] != kNoIndex);
  return devices[device_index[id.value()]];
}

SplitMode SchedulerState::split() const {
  const bool walls = config.static_roles && devices.size() > 1 &&
                     config.split == SplitMode::kAuto;
  return walls ? SplitMode::kOn : config.split;
}

void SchedulerState::MoveTo(Request& request, RequestState next) {
  --counts[static_cast<size_t>(request.state)];
  request.MoveTo(next);
  if (next != RequestState::kFinished) ++counts[static_cast<size_t>(next)];
}

// Most newcomers stand near the end, so it is counted from there.
QueuedByDevice SchedulerState::AheadOf(const QueueKey& key) const {
  QueuedByDevice ahead;
  for (const DeviceState& device : devices) ahead.push_back(device.queued);
  for (auto it = queue.end(); it != queue.begin();) {
    --it;
    if (*it < key) break;
    VisitQueued(*requests.Find(it->id),
                [&](uint32_t device, const QueuedWork& work) {
                  ahead[device] -= work;
                });
  }
  return ahead;
}

uint64_t SchedulerState::PromisedBlocks(PoolId pool,
                                        const QueuedByDevice* ahead) const {
  uint64_t blocks = 0;
  for (const DeviceState& device : devices) {
    if (device.config.pool != pool) continue;
    const QueuedWork& work = ahead ? (*ahead)[device.index] : device.queued;
    blocks += work.blocks + work.prompt_blocks;
  }
  return blocks;
}

uint32_t SchedulerState::ReclaimableNow(PoolId id) const {
  const uint32_t held = PoolOf(id).elastic();
  if (held == 0) return 0;
  uint32_t pinned = 0;
  for (const DeviceState& device : devices) {
    if (device.config.pool == id) pinned += device.pinned;
  }
  for (const auto& one : catch_ups) {
    if (one->state != StreamCatchUp::State::kSending) continue;
    for (const BlockTable* table : {&one->blocks, &one->landing}) {
      if (table->pool()->id() == id) {
        pinned += static_cast<uint32_t>(table->blocks().size());
      }
    }
  }
  return held - std::min(held, pinned);
}

bool SchedulerState::MayRunGang(const DeviceState& device,
                                uint32_t gang) const {
  const bool walls = split() == SplitMode::kOn && devices.size() > 1;
  return device.config.max_rows > gang &&
         !(walls && device.config.role == DeviceRole::kPrefill);
}

NearRows SchedulerState::RowsNear(const DeviceState& own) const {
  NearRows rows;
  for (const DeviceState& device : devices) {
    if (&device != &own && !config.lend_cores) continue;
    rows.all += static_cast<uint32_t>(device.decoding.size());
    rows.owing += device.owing;
  }
  return rows;
}

void SchedulerState::Log(DecisionKind kind, const char* reason,
                         const Request& request, double predicted,
                         double other) {
  decisions.Add({.time = now,
                 .kind = kind,
                 .request = request.id,
                 .prefill = request.prefill_device,
                 .decode = request.decode_device,
                 .reason = reason,
                 .predicted = predicted,
                 .other = other});
}

void SchedulerState::LogDevice(DecisionKind kind, const char* reason,
                               const DeviceState& device) {
  decisions.Add({.time = now,
                 .kind = kind,
                 .prefill = device.config.id,
                 .decode = device.config.id,
                 .reason = reason});
}

}  // namespace braid
