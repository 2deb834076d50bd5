#include "scheduler/placement_lending.h"

#include <algorithm>
#include <utility>

namespace braid {
namespace {

// Devices of a node that have work, and that have none.
struct Lending {
  uint32_t used = 0, unused = 0;

  // What each of the used ones borrows, on average.
  uint32_t lenders() const { return used > 0 ? unused / used : 0; }
  const StepTimeModel& StepsOf(const DeviceView& device) const {
    const size_t most = device.by_lenders.size() - 1;
    return *device.by_lenders[std::min<size_t>(lenders(), most)];
  }
};

bool LendsTo(const DeviceView& device, const DeviceView& other) {
  return &device != &other && device.up && device.lends() &&
         device.node == other.node;
}

// All of its node but `device`, and `other`.
Lending Without(const PlacementQuery& query, const DeviceView& device,
                const DeviceView* other = nullptr) {
  Lending lending;
  for (const DeviceView& one : query.devices) {
    if (&one == other || !LendsTo(one, device)) continue;
    ++(one.used() ? lending.used : lending.unused);
  }
  return lending;
}

Lending With(const PlacementQuery& query, const DeviceView& device) {
  Lending lending = Without(query, device);
  ++lending.used;
  return lending;
}

}  // namespace

const StepTimeModel& StepsOf(const PlacementQuery& query,
                             const DeviceView& device) {
  return device.lends() ? With(query, device).StepsOf(device) : *device.time;
}

double DevicesTaken(const PlacementQuery& query, const DeviceView& device) {
  return device.lends() ? 1.0 + With(query, device).lenders() : 1.0;
}

double CallBackSeconds(const PlacementQuery& query, const DeviceView& device,
                       double seconds) {
  if (!device.lends() || seconds <= 0) return 0;
  double lost = 0;
  for (const DeviceView& other : query.devices) {
    if (!LendsTo(device, other) || !other.up || !other.used() ||
        !other.lends()) {
      continue;
    }
    Lending lent = Without(query, device, &other);
    ++lent.used;  // `other`
    Lending kept = lent;
    ++lent.unused;
    ++kept.used;
    const StepTimeModel& fast = lent.StepsOf(other);
    const StepTimeModel& slow = kept.StepsOf(other);
    // Of the time, what it does less of.
    const auto loss = [&](const StepShape& shape) {
      return std::max(0.0, 1 - fast.Predict(shape) / slow.Predict(shape));
    };
    if (other.decode_rows > 0) {
      // The cores come back with the end of a step.
      const StepShape rows{.decode_rows = other.decode_rows,
                           .decode_attended = other.decode_attended};
      lost +=
          other.decode_rows * loss(rows) * (seconds + slow.Predict(rows) / 2);
    }
    if (other.prompts > 0) {
      // They wait half of the queue's time, on average.
      StepShape prompt;
      prompt.AddChunk(0, query.max_chunk);
      lost += other.prompts * std::min(seconds, other.prefill_wait / 2) *
              loss(prompt);
    }
  }
  return lost;
}

bool IsHome(const PlacementQuery& query, const DeviceView& device) {
  if (!device.lends()) return false;
  const auto rank = [](const DeviceView& one) {
    return std::pair(one.decode_rows, one.prompts);
  };
  return std::ranges::none_of(query.devices, [&](const DeviceView& other) {
    return LendsTo(other, device) && rank(other) > rank(device);
  });
}

const StepTimeModel& RowStepsOf(const PlacementQuery& query,
                                const DeviceView& device) {
  if (!IsHome(query, device)) return StepsOf(query, device);
  Lending lending = With(query, device);
  lending.unused += lending.used - 1;
  lending.used = 1;
  return lending.StepsOf(device);
}

}  // namespace braid
