// EngineLoop's part that meets trouble: devices that are lost and come back,
// transfers that fail, requests that have to be computed again.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "engine/engine_loop.h"

namespace braid {
namespace {

// How often a request may lose the device under it. What loses one three times
// may well be what breaks them.
constexpr uint32_t kMaxRecomputed = 2;

}  // namespace

// Its step, if any, has been committed as failed.
void EngineLoop::LoseDevice(Slot& slot, const absl::Status& why,
                            TimePoint now) {
  const DeviceId device = slot.device.id;
  DeviceStats& stats = stats_.devices[&slot - slots_.data()];
  stats.up = false;
  ++stats.times_lost;
  stats.retry = outages_.DeviceLost(device, now);

  // By id: a hash table's order is nobody's to depend on.
  std::vector<RequestId> running;
  for (const auto& [id, record] : records_) {
    const Request& request = *scheduler_->Find(id);
    if (request.state != RequestState::kWaiting && !request.displaced) {
      running.push_back(id);
    }
  }
  std::ranges::sort(running);
  // The runner wrote somewhere, and nobody knows what: nothing of its memory is
  // believed, unless it is also another device's that lives.
  scheduler_->LoseDevice(device, /*memory_lost=*/true, now);
  for (RequestId id : running) {
    const Request& request = *scheduler_->Find(id);
    if (request.state != RequestState::kWaiting && !request.displaced) continue;
    RequestRecord& record = *Record(id);
    record.DeviceLost();
    // A step that still runs on it may be the one that completes them.
    if (!request.displaced) record.DropScores();
    ++stats_.requests_recomputed;
    ForgetHandoff(id);
    if (record.recomputed() > kMaxRecomputed) {
      End(id, FinishReason::kFailed,
          absl::UnavailableError(absl::StrCat(
              "device ", slot.device.name, " was lost, and the request had ",
              "been moved ", kMaxRecomputed, " times before: ", why.message())),
          now);
    } else {
      Track(request, record, now);
    }
  }
}

bool EngineLoop::RestoreDevices(TimePoint now) {
  bool any = false;
  for (DeviceId device : outages_.TakeDue(now)) {
    Slot& slot = SlotOf(device);
    stats_.devices[&slot - slots_.data()].up = true;
    scheduler_->RestoreDevice(device, now);
    any = true;
  }
  return any;
}

// A request that goes back to the queue has no use for its transfer, nor for
// what it had to say.
void EngineLoop::ForgetHandoff(RequestId id) {
  handoff_->Abandon(id);
  std::erase_if(handoff_events_, [id](const HandoffEvent& event) {
    return event.request == id && event.catch_up == CatchUpId();
  });
}

bool EngineLoop::TakeHandoffs(TimePoint now) {
  handoff_->Poll(handoff_events_);
  // A transfer can be complete before the report that its step is: it waits.
  return std::erase_if(handoff_events_, [&](const HandoffEvent& event) {
           return TakeHandoff(event, now);
         }) > 0;
}

// False: not yet.
bool EngineLoop::TakeHandoff(const HandoffEvent& event, TimePoint now) {
  if (event.catch_up != CatchUpId()) {
    TakeSend(event, now);
    return true;
  }
  const Request* request = scheduler_->Find(event.request);
  if (request == nullptr) return true;
  if (!event.status.ok()) {
    NoteDamage(event, now);
    scheduler_->FailTransfer(event.request, now);
  } else if (request->state == RequestState::kTransferring) {
    outages_.PairWorked(event.from, event.to, now);
    scheduler_->CompleteTransfer(event.request, now);
    Record(event.request)->HandedOver();
    ++stats_.requests_split;
  } else {
    return false;
  }
  Track(*request, *Record(event.request), now);
  return true;
}

void EngineLoop::NoteDamage(const HandoffEvent& event, TimePoint now) {
  if (!absl::IsDataLoss(event.status)) return;
  ++stats_.pairs_avoided;
  scheduler_->AvoidPair(event.from, event.to,
                        outages_.PairFailed(event.from, event.to, now));
}

// A stream's KV has arrived, or has not. It may have been given up since.
void EngineLoop::TakeSend(const HandoffEvent& event, TimePoint now) {
  if (event.status.ok()) {
    outages_.PairWorked(event.from, event.to, now);
  } else {
    NoteDamage(event, now);
  }
  if (scheduler_->FindCatchUp(event.catch_up) == nullptr) return;
  if (event.status.ok()) {
    scheduler_->CompleteSend(event.catch_up, now);
  } else {
    scheduler_->FailSend(event.catch_up, now);
  }
}

// Behind all that had to be sent for requests in this turn.
bool EngineLoop::SendStreams(TimePoint now) {
  sends_.clear();
  scheduler_->TakeAbandonedSends(sends_);
  for (CatchUpId id : sends_) handoff_->AbandonSend(id);
  const bool abandoned = !sends_.empty();
  sends_.clear();
  scheduler_->TakeSends(now, sends_);
  for (CatchUpId id : sends_) {
    if (!handoff_->Send(*scheduler_->FindCatchUp(id)).ok()) {
      scheduler_->FailSend(id, now);
    }
  }
  return abandoned || !sends_.empty();
}

}  // namespace braid
