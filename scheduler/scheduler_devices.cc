// Devices that are lost and come back, and links that are avoided.
#include <algorithm>

#include "base/check.h"
#include "scheduler/scheduler.h"

namespace braid {

std::vector<RequestId> Scheduler::LoseDevice(DeviceId id, bool memory_lost,
                                             TimePoint now) {
  state_.now = now;
  DeviceState& lost = state_.Device(id);
  BRAID_CHECK(lost.up && !lost.running);
  lost.up = false;
  state_.LogDevice(DecisionKind::kDevice,
                   memory_lost ? "lost-with-memory" : "lost", lost);
  const bool shared =
      std::ranges::any_of(state_.devices, [&](const DeviceState& other) {
        return other.up && other.config.pool == lost.config.pool;
      });
  memory_lost &= !shared;
  if (memory_lost) state_.pools[lost.config.pool.value()]->index().Clear();

  catch_ups_.GiveUpAllOf(lost);
  // Before anybody is bound anew, nobody may be bound to it.
  std::vector<Request*> waiting, put_back;
  for (uint32_t slot = 0; slot < state_.requests.slots(); ++slot) {
    Request* request = state_.requests.Peek(slot);
    if (request == nullptr || request->state == RequestState::kFinished) {
      continue;
    }
    const bool prefills = request->prefill_device == id;
    const bool decodes = request->decode_device == id;
    if (request->state == RequestState::kWaiting) {
      if (request->bound && (prefills || decodes)) {
        binder_.Unbind(*request);
        waiting.push_back(request);
      }
      continue;
    }
    if (request->state == RequestState::kLingering) {
      if (decodes) best_of_.DropAll(*request);
      continue;
    }
    // What has been sent on its way arrives, unless its source is gone.
    const bool source_gone =
        request->state == RequestState::kPrefilling ||
        (request->state == RequestState::kTransferring && memory_lost);
    if (decodes || (prefills && source_gone)) put_back.push_back(request);
  }
  std::ranges::sort(waiting, {}, &Request::key);
  std::ranges::sort(put_back, {}, &Request::key);
  std::vector<RequestId> ids;
  for (Request* request : put_back) {
    ids.push_back(request->id);
    Requeue(*request);
  }
  for (Request* request : waiting) binder_.Rebind(*request);
  return ids;
}

void Scheduler::RestoreDevice(DeviceId id, TimePoint now) {
  state_.now = now;
  DeviceState& device = state_.Device(id);
  BRAID_CHECK(!device.up);
  device.up = true;
  state_.LogDevice(DecisionKind::kDevice, "restored", device);
}

// Those bound to the pair are bound anew in the next turn.
void Scheduler::AvoidPair(PoolId from, PoolId to, TimePoint until) {
  PoolLink& link = state_.LinkOf(from, to);
  link.avoided_until = std::max(link.avoided_until, until);
  state_.decisions.Add({.time = state_.now,
                        .kind = DecisionKind::kPair,
                        .prefill = DeviceId(from.value()),
                        .decode = DeviceId(to.value()),
                        .reason = "avoided",
                        .predicted = ToSeconds(until - state_.now)});
  for (const QueueKey& key : state_.queue) {
    Request& request = *state_.requests.Find(key.id);
    if (request.bound && request.handed_over() &&
        state_.pool_of(request.prefill_device) == from &&
        state_.pool_of(request.decode_device) == to) {
      binder_.Unbind(request);
    }
  }
}

}  // namespace braid
