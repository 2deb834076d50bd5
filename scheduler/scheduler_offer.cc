// Scheduler::Offer: who may wait, who is refused, who makes room.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// Of the target: what is predicted to take more is refused. Predictions err.
constexpr double kHeadroom = 0.9;
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

std::optional<Refusal> Scheduler::Offer(RequestInput input, TimePoint now) {
  BRAID_CHECK(
      CheckSize(input.prompt.size(), input.max_output, input.streams).ok());
  BRAID_CHECK(input.service_class < config_.classes.size());
  now_ = now;
  Request& request = requests_.Add(std::move(input));
  ChooseGang(request);
  GiveWayTo(request);
  std::optional<Refusal> refusal = Consider(request);
  if (refusal) {
    Log(DecisionKind::kRefused, ToString(refusal->reason), request,
        refusal->predicted_ttft, refusal->retry_after);
    requests_.Forget(request.id);
    requests_.Free(request.slot);
  } else {
    NoteArrival(request);
  }
  return refusal;
}

std::optional<Refusal> Scheduler::Consider(Request& request) {
  QueueEntry entry{.id = request.id,
                   .service_class = request.service_class,
                   .tenant = request.tenant,
                   .priority = request.priority,
                   .arrival = request.arrival,
                   .deadline = request.deadline,
                   .seconds = ServiceSeconds(request)};
  request.key = queue_.KeyOf(entry);
  std::optional<Placement> placement = Choose(request);
  const auto refuse = [&](RefusalReason reason, double retry) {
    return Refusal{.request = request.id,
                   .reason = reason,
                   .predicted_ttft = placement ? placement->ttft : 0,
                   .retry_after = std::max(kLeastRetry, retry)};
  };
  if (!placement) return refuse(RefusalReason::kNoDevice, kNoDeviceRetry);
  if (request.deadline <= now_) return refuse(RefusalReason::kTooLate, 0);

  double excess = ExcessSeconds(request, *placement);
  if (excess > 0 && ShedFor(request, *placement, excess)) {
    placement = Choose(request);
    excess = ExcessSeconds(request, *placement);
  }
  if (excess > 0) return refuse(RefusalReason::kOverload, excess);
  if (MissesDeadline(request, *placement)) {
    return refuse(RefusalReason::kTooLate,
                  placement->ttft - ServiceSeconds(request));
  }
  // A place is free when the first of the class has been admitted.
  const uint32_t queued = queue_.size(request.service_class);
  const double next_place = placement->ttft / std::max(queued, 1u);
  if (queued >= ClassOf(request).max_queued) {
    return refuse(RefusalReason::kQueueFull, next_place);
  }
  if (queue_.size() >= config_.max_queued) {
    const QueueKey* victim = queue_.Victim(request.service_class);
    // One that came back to the queue with tokens of it sent is not refused.
    if (victim == nullptr || !Find(victim->id)->output().empty()) {
      return refuse(RefusalReason::kQueueFull, next_place);
    }
    Shed(*Find(victim->id));
  }
  BRAID_CHECK(queue_.Push(entry, &request.key));
  ++counts_[static_cast<size_t>(RequestState::kWaiting)];
  ++unbound_;
  Bind(request, *placement);
  return std::nullopt;
}

// By which its first token would miss its class's target; 0: it would not, or
// it must not be refused for that.
double Scheduler::ExcessSeconds(const Request& request,
                                const Placement& placement) const {
  // An idle machine serves whoever comes; and what is only guessed refuses
  // nobody.
  if (running() == 0 && queue_.size() == 0) return 0;
  const DeviceState& prefill = StateOf(placement.prefill);
  if (!IsWarm(prefill)) return 0;
  const double target = ToSeconds(ClassOf(request).ttft);
  const double alone = PromptSeconds(
      prefill,
      PromptWork::Of(CachedFor(prefill), request.size(), request.gang));
  const double limit =
      std::max(kHeadroom * target, alone + kWaitShare * target);
  const double past = ToSeconds(now_ - request.arrival);
  const double excess = std::max(0.0, past + placement.ttft - limit);
  if (excess == 0) return 0;
  // Of it, what waits for blocks or a row, and for nothing else: lower classes
  // can be made to give theirs.
  const Queued ahead = AheadOf(request.key);
  const DeviceState& decode = StateOf(placement.decode);
  const double turn = PrefillWait(prefill, ahead[prefill.index].prompts);
  const double credit = CreditWait(decode, request, ahead) - turn;
  if (credit <= 0 || !CanPreemptFor(decode, request, ahead)) return excess;
  return std::max(0.0, excess - credit);
}

bool Scheduler::MissesDeadline(const Request& request,
                               const Placement& placement) const {
  if (request.deadline == kNever) return false;
  const DeviceState& prefill = StateOf(placement.prefill);
  if (!IsWarm(prefill)) return false;
  const double left = ToSeconds(request.deadline - now_);
  // Alone it may have every core of the machine.
  if (running() == 0 && queue_.size() == 0) {
    return LeastSeconds(request, prefill, CachedFor(prefill)) > left;
  }
  const uint32_t output = answers_.Expected(request);
  return placement.ttft + (output > 1 ? (output - 1) * placement.tpot : 0) >
         left;
}

// Sheds waiting requests of lower classes that stand before `request` and cost
// it `excess` seconds: the lowest class first, and of it the last. False, with
// nobody shed, when that would not help.
bool Scheduler::ShedFor(const Request& request, const Placement& placement,
                        double excess) {
  const DeviceState& prefill = StateOf(placement.prefill);
  const Queued ahead = AheadOf(request.key);
  if (CreditWait(StateOf(placement.decode), request, ahead) + excess >
      PrefillWait(prefill, ahead[prefill.index].prompts)) {
    return false;  // It would wait for blocks, if not for its turn.
  }
  std::vector<Request*> before;
  size_t looked_at = 0;
  for (const QueueKey& key : queue_) {
    if (!(key < request.key) || ++looked_at > kShedLookahead) break;
    Request* other = requests_.Find(key.id);
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
    saved += PromptSeconds(
        prefill, PromptWork::Of(other.hinted, other.size(), other.gang));
  }
  for (size_t i = 0; i < n; ++i) Shed(*before[i]);
  return true;
}

void Scheduler::Shed(const Request& request) {
  RefuseQueued(*requests_.Find(request.id),
               {.request = request.id,
                .reason = RefusalReason::kShed,
                .predicted_ttft = request.ttft,
                .retry_after = std::max(kLeastRetry, request.ttft)});
}

void Scheduler::RefuseQueued(Request& request, const Refusal& refusal) {
  Log(refusal.reason == RefusalReason::kShed ? DecisionKind::kShed
                                             : DecisionKind::kRefused,
      ToString(refusal.reason), request, refusal.predicted_ttft,
      refusal.retry_after);
  Leave(request, /*served=*/false);
  request.refused = true;
  refused_.push_back(refusal);
}

void Scheduler::TakeRefused(TimePoint now, std::vector<Refusal>& out) {
  now_ = now;
  while (!latest_starts_.empty() && latest_starts_.begin()->first < now) {
    Request& request = *requests_.Find(latest_starts_.begin()->second);
    RefuseQueued(request, {.request = request.id,
                           .reason = RefusalReason::kTooLate,
                           .predicted_ttft = request.ttft,
                           .retry_after = kLeastRetry});
  }
  PlanSplit();
  RebindSome();
  LookAtRoles();
  out.insert(out.end(), refused_.begin(), refused_.end());
  refused_.clear();
}

// Puts one back that was admitted before.
void Scheduler::Restore(Request& request) {
  ExtendKeys(request);
  queue_.Restore(request.key, request.service_class, request.tenant);
  ++unbound_;
  Rebind(request);
}

// Out of the queue, and of the books of those that wait.
void Scheduler::Leave(Request& request, bool served) {
  Unbind(request);
  --unbound_;
  queue_.Remove(request.key, served);
}

TimePoint Scheduler::LatestStart(const Request& request,
                                 const DeviceState& prefill) const {
  if (request.deadline == kNever) return kNever;
  const double least =
      IsWarm(prefill) ? LeastSeconds(request, prefill, request.hinted) : 0;
  return request.deadline - FromSeconds(least);
}

}  // namespace braid
