#include "scheduler/roles.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace braid {

SplitMode Roles::mode() const {
  if (!planned_) return state_.split();
  return decode_devices_ == 0 ? SplitMode::kOff : SplitMode::kOn;
}

void Roles::Plan() {
  if (!planned_) return;
  uint32_t n = 0;
  const DeviceState* known = nullptr;
  for (const DeviceState& device : state_.devices) {
    if (!device.up) continue;
    ++n;
    if (known == nullptr || forecast_.TimeOf(device, 0).observed() >
                                forecast_.TimeOf(*known, 0).observed()) {
      known = &device;
    }
  }
  if (known == nullptr || !forecast_.IsWarm(*known)) return;
  const uint32_t decode = demand_.Plan(
      {.time = &forecast_.TimeOf(*known, 0),
       .gathered = state_.config.lend_cores ? &forecast_.TimeOf(*known, n - 1)
                                            : nullptr,
       .max_chunk =
           std::min(state_.config.prefill_chunk, known->config.max_rows),
       .max_rows = known->config.max_rows,
       .kv_tokens =
           uint64_t{state_.PoolOf(known->config.pool).blocks().capacity()} *
           state_.config.block_tokens},
      n, state_.now);
  const auto decodes = [](const DeviceState& device) {
    return device.role == DeviceRole::kDecode;
  };
  // Devices that came back have the role that they had.
  uint32_t decoding = 0;
  bool settled = decode == decode_devices_;
  for (const DeviceState& device : state_.devices) {
    if (!device.up) continue;
    decoding += decodes(device);
    settled &= (device.role == DeviceRole::kBoth) == (decode == 0);
  }
  if (settled && decoding == decode) return;
  decode_devices_ = decode;
  std::vector<DeviceState*> order;
  for (DeviceState& device : state_.devices) {
    if (device.up) order.push_back(&device);
  }
  std::ranges::sort(order, [&](const DeviceState* a, const DeviceState* b) {
    return std::tuple(!decodes(*a), b->bound, a->index) <
           std::tuple(!decodes(*b), a->bound, b->index);
  });
  for (uint32_t i = 0; i < order.size(); ++i) {
    const DeviceRole role = decode == 0  ? DeviceRole::kBoth
                            : i < decode ? DeviceRole::kDecode
                                         : DeviceRole::kPrefill;
    if (order[i]->role == role) continue;
    order[i]->role = role;
    state_.LogDevice(DecisionKind::kRole,
                     role == DeviceRole::kBoth     ? "planned-both"
                     : role == DeviceRole::kDecode ? "planned-decode"
                                                   : "planned-prefill",
                     *order[i]);
  }
}

void Roles::NoteVisits() {
  for (DeviceState& device : state_.devices) {
    const bool prefills = device.Prefills(state_.now);
    const bool decodes = device.Decodes(state_.now);
    const bool visiting =
        (device.config.role == DeviceRole::kDecode && prefills) ||
        (device.config.role == DeviceRole::kPrefill && decodes);
    if (visiting == device.visiting) continue;
    device.visiting = visiting;
    state_.LogDevice(DecisionKind::kRole,
                     !visiting ? "back-home"
                     : device.config.role == DeviceRole::kDecode
                         ? "prefills-too"
                         : "decodes-too",
                     device);
  }
}

}  // namespace braid
