#include "engine/outages.h"

#include <algorithm>

namespace braid {

Duration Backoff::After(uint32_t failures) const {
  Duration time = first;
  for (uint32_t i = 1; i < failures && time < longest; ++i) time *= 2;
  return std::min(time, longest);
}

TimePoint Outages::DeviceLost(DeviceId device, TimePoint now) {
  State& state = devices_[device];
  state.lost = true;
  state.until = now + kDeviceBackoff.After(++state.failures);
  return state.until;
}

void Outages::DeviceWorked(DeviceId device) {
  if (!devices_.empty()) devices_.erase(device);
}

std::vector<DeviceId> Outages::TakeDue(TimePoint now) {
  std::vector<DeviceId> due;
  for (auto& [device, state] : devices_) {
    if (!state.lost || state.until > now) continue;
    state.lost = false;
    due.push_back(device);
  }
  return due;
}

TimePoint Outages::PairFailed(PoolId from, PoolId to, TimePoint now) {
  State& state = pairs_[{from, to}];
  state.until = now + kPairBackoff.After(++state.failures);
  return state.until;
}

void Outages::PairWorked(PoolId from, PoolId to, TimePoint now) {
  const auto it = pairs_.find({from, to});
  if (it != pairs_.end() && it->second.until <= now) pairs_.erase(it);
}

TimePoint Outages::Next(TimePoint now) const {
  TimePoint next = kNever;
  for (const auto& [device, state] : devices_) {
    if (state.lost) next = std::min(next, state.until);
  }
  for (const auto& [pair, state] : pairs_) {
    if (state.until > now) next = std::min(next, state.until);
  }
  return next;
}

std::vector<AvoidedPair> Outages::avoided(TimePoint now) const {
  std::vector<AvoidedPair> avoided;
  for (const auto& [pair, state] : pairs_) {
    if (state.until > now) {
      avoided.push_back({pair.first, pair.second, state.until, state.failures});
    }
  }
  return avoided;
}

}  // namespace braid
