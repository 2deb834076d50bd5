#include "scheduler/waiting_requests.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/preemption.h"
#include "scheduler/request_keys.h"

namespace braid {
namespace {

// A prompt that misses the target on an idle machine is not refused for that:
// only for waiting longer than this part of the target.
constexpr double kWaitShare = 0.5;
// Seconds. A client that comes back at once has only made it worse.
constexpr double kLeastRetry = 0.05;
constexpr double kNoDeviceRetry = 1.0;
// Shed for the sake of one request.
constexpr size_t kMostShed = 16;
// Looked at in order to find them.
constexpr size_t kShedLookahead = 256;

}  // namespace

std::optional<Refusal> WaitingRequests::Consider(Request& request) {
  QueueEntry entry{.id = request.id,
                   .service_class = request.service_class,
                   .tenant = request.tenant,
                   .priority = request.priority,
                   .arrival = request.arrival,
                   .deadline = request.deadline,
                   .seconds = forecast_.ServiceSeconds(request)};
  request.key = state_.queue.KeyOf(entry);
  std::optional<Placement> placement = binder_.Choose(request);
  const auto refuse = [&](RefusalReason reason, double retry) {
    return Refusal{.request = request.id,
                   .reason = reason,
                   .predicted_ttft = placement ? placement->ttft : 0,
                   .retry_after = std::max(kLeastRetry, retry)};
  };
  if (!placement) return refuse(RefusalReason::kNoDevice, kNoDeviceRetry);
  if (request.deadline <= state_.now) return refuse(RefusalReason::kTooLate, 0);

  double excess = ExcessSeconds(request, *placement);
  if (excess > 0 && ShedFor(request, *placement, excess)) {
    placement = binder_.Choose(request);
    excess = ExcessSeconds(request, *placement);
  }
  if (excess > 0) return refuse(RefusalReason::kOverload, excess);
  if (MissesDeadline(request, *placement)) {
    return refuse(RefusalReason::kTooLate,
                  placement->ttft - forecast_.ServiceSeconds(request));
  }
  // A place is free when the first of the class has been admitted.
  const uint32_t queued = state_.queue.size(request.service_class);
  const double next_place = placement->ttft / std::max(queued, 1u);
  if (queued >= state_.ClassOf(request).max_queued) {
    return refuse(RefusalReason::kQueueFull, next_place);
  }
  if (state_.queue.size() >= state_.config.max_queued) {
    const QueueKey* victim = state_.queue.Victim(request.service_class);
    // One that came back to the queue with tokens of it sent is not refused.
    if (victim == nullptr ||
        !state_.requests.Find(victim->id)->output().empty()) {
      return refuse(RefusalReason::kQueueFull, next_place);
    }
    Shed(*state_.requests.Find(victim->id));
  }
  BRAID_CHECK(state_.queue.Push(entry, &request.key));
  ++state_.counts[static_cast<size_t>(RequestState::kWaiting)];
  binder_.Enter();
  binder_.Bind(request, *placement);
  return std::nullopt;
}

// By which its first token would miss its class's target; 0: it would not, or
// it must not be refused for that.
double WaitingRequests::ExcessSeconds(const Request& request,
                                      const Placement& placement) const {
  // An idle machine serves whoever comes; and what is only guessed refuses
  // nobody.
  if (state_.running() == 0 && state_.queue.size() == 0) return 0;
  const DeviceState& prefill = state_.Device(placement.prefill);
  if (!forecast_.IsWarm(prefill)) return 0;
  const double target = ToSeconds(state_.ClassOf(request).ttft);
  const double alone = forecast_.PromptSeconds(
      prefill,
      PromptWork::Of(binder_.CachedFor(prefill), request.size(), request.gang));
  const double limit =
      std::max(kSafeTtftShare * target, alone + kWaitShare * target);
  const double past = ToSeconds(state_.now - request.arrival);
  const double excess = std::max(0.0, past + placement.ttft - limit);
  if (excess == 0) return 0;
  // Of it, what waits for blocks or a row, and for nothing else: lower classes
  // can be made to give theirs.
  const QueuedByDevice ahead = state_.AheadOf(request.key);
  const DeviceState& decode = state_.Device(placement.decode);
  const double turn =
      forecast_.PrefillWait(prefill, ahead[prefill.index].prompts);
  const double credit = forecast_.CreditWait(decode, request, ahead) - turn;
  if (credit <= 0 || !CanPreemptFor(state_, decode, request, ahead))
    return excess;
  return std::max(0.0, excess - credit);
}

bool WaitingRequests::MissesDeadline(const Request& request,
                                     const Placement& placement) const {
  if (request.deadline == kNever) return false;
  const DeviceState& prefill = state_.Device(placement.prefill);
  if (!forecast_.IsWarm(prefill)) return false;
  const double left = ToSeconds(request.deadline - state_.now);
  // Alone it may have every core of the machine.
  if (state_.running() == 0 && state_.queue.size() == 0) {
    return forecast_.LeastSeconds(request, prefill,
                                  binder_.CachedFor(prefill)) > left;
  }
  const uint32_t output = state_.answers.Expected(request);
  return placement.ttft + (output > 1 ? (output - 1) * placement.tpot : 0) >
         left;
}

// Sheds waiting requests of lower classes that stand before `request` and cost
// it `excess` seconds: the lowest class first, and of it the last. False, with
// nobody shed, when that would not help.
bool WaitingRequests::ShedFor(const Request& request,
                              const Placement& placement, double excess) {
  const DeviceState& prefill = state_.Device(placement.prefill);
  const QueuedByDevice ahead = state_.AheadOf(request.key);
  if (forecast_.CreditWait(state_.Device(placement.decode), request, ahead) +
          excess >
      forecast_.PrefillWait(prefill, ahead[prefill.index].prompts)) {
    return false;  // It would wait for blocks, if not for its turn.
  }
  std::vector<Request*> before;
  size_t looked_at = 0;
  for (const QueueKey& key : state_.queue) {
    if (!(key < request.key) || ++looked_at > kShedLookahead) break;
    Request* other = state_.requests.Find(key.id);
    if (other->service_class > request.service_class && other->bound &&
        other->prefill_device == placement.prefill && other->output().empty()) {
      before.push_back(other);
    }
  }
  std::ranges::sort(before, [](const Request* a, const Request* b) {
    return std::pair(a->service_class, a->key) >
           std::pair(b->service_class, b->key);
  });
  double saved = 0;
  size_t n = 0;
  while (saved < excess) {
    if (n == before.size() || n == kMostShed) return false;
    const Request& other = *before[n++];
    saved += forecast_.PromptSeconds(
        prefill, PromptWork::Of(other.hinted, other.size(), other.gang));
  }
  for (size_t i = 0; i < n; ++i) Shed(*before[i]);
  return true;
}

void WaitingRequests::Shed(const Request& request) {
  RefuseQueued(*state_.requests.Find(request.id),
               {.request = request.id,
                .reason = RefusalReason::kShed,
                .predicted_ttft = request.ttft,
                .retry_after = std::max(kLeastRetry, request.ttft)});
}

void WaitingRequests::RefuseQueued(Request& request, const Refusal& refusal) {
  state_.Log(refusal.reason == RefusalReason::kShed ? DecisionKind::kShed
                                                    : DecisionKind::kRefused,
             ToString(refusal.reason), request, refusal.predicted_ttft,
             refusal.retry_after);
  Leave(request, /*served=*/false);
  request.refused = true;
  refused_.push_back(refusal);
}

void WaitingRequests::RefuseTooLate() {
  while (Request* request = binder_.FirstTooLate()) {
    RefuseQueued(*request, {.request = request->id,
                            .reason = RefusalReason::kTooLate,
                            .predicted_ttft = request->ttft,
                            .retry_after = kLeastRetry});
  }
}

void WaitingRequests::TakeRefused(std::vector<Refusal>& out) {
  out.insert(out.end(), refused_.begin(), refused_.end());
  refused_.clear();
}

void WaitingRequests::ForgetRefused(RequestId id) {
  std::erase_if(refused_,
                [id](const Refusal& refusal) { return refusal.request == id; });
}

void WaitingRequests::Restore(Request& request) {
  ExtendKeys(state_.config, request);
  state_.queue.Restore(request.key, request.service_class, request.tenant);
  binder_.Enter();
  binder_.Rebind(request);
}

void WaitingRequests::Leave(Request& request, bool served) {
  binder_.Leave(request);
  state_.queue.Remove(request.key, served);
}

}  // namespace braid
