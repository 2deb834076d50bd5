// Decides what every device runs next, and keeps the books of requests and
// blocks. A request is offered (and may be refused), waits, and then takes part
// in steps; three verbs per step of a device:
//
//   Plan    const: looks at the state and returns a StepPlan
//   Apply   takes the blocks that the plan says; cannot fail
//   Commit  the step is over: appends tokens, publishes prefixes, moves on
//
// Offer. A PlacementPolicy binds the request to the device that computes its
// prompt and the one that decodes it, and predicts its first token. What would
// miss its class's target is refused, with the time after which it would not.
//
// Admission. A request leaves the queue only when every block that it can ever
// need, for prompt and output, can be taken at once, in the decode pool as well
// as in the prefill pool. So what runs never waits for blocks: it ends, gives
// them back, and the head of the queue is next. Nobody overtakes on the blocks
// of a pool or the rows of a device, so nobody starves.
//
// Steps. Every decode row has a due: the first token and k targets after it,
// and a few targets after its last one. A step's prompt chunks are what fits
// before the tightest due in it, and at least a block, so that prompts go on.
//
// Thread safety: engine thread only. No clock, no I/O, no randomness: equal
// calls make equal plans.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "scheduler/best_of_candidates.h"
#include "scheduler/binder.h"
#include "scheduler/catch_ups.h"
#include "scheduler/elastic_streams.h"
#include "scheduler/forecast.h"
#include "scheduler/refusal.h"
#include "scheduler/roles.h"
#include "scheduler/scheduler_config.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"
#include "scheduler/step_planner.h"
#include "scheduler/waiting_requests.h"

namespace braid {

class Scheduler final {
 public:
  static absl::Status Validate(const SchedulerConfig& config) {
    return braid::Validate(config);
  }

  explicit Scheduler(SchedulerConfig config);  // REQUIRES: Validate is OK
  ~Scheduler();

  // Whether a request of that size, with those streams, could ever run on an
  // empty machine. Thread-safe.
  absl::Status CheckSize(size_t prompt_tokens, uint32_t max_output,
                         const StreamTerms& streams = {}) const;

  // Queues it, or refuses: decided at once, and a refusal keeps nothing.
  // REQUIRES: CheckSize is OK; the class exists; the id is new.
  std::optional<Refusal> Offer(RequestInput input, TimePoint now);

  // Once a turn, before it plans: looks after those that wait. Some may be
  // bound to other devices than before; those that will not be served after all
  // (shed, or too late) are appended. They are still there; the caller calls
  // Finish for each.
  void TakeRefused(TimePoint now, std::vector<Refusal>& out);

  // Ends the request, whatever its state. Its blocks go back at once, or, when
  // a step is in flight on them, with that step's Commit. Blocks that a
  // transfer is at work on are kept by the transfer's leases.
  // `chosen`: of best-of-n, the complete candidate whose answer is told. Who
  // goes on from there finds what is left of its KV in the prefix index.
  void Finish(RequestId id, uint32_t chosen = 0);

  // What an idle device should do now; nothing when that is best. The storage
  // of `reuse` is recycled. REQUIRES: the device is available.
  StepPlan Plan(DeviceId device, TimePoint now, StepPlan reuse = {}) const;
  // REQUIRES: the plan is of this turn, and not empty. The device runs if there
  // are rows.
  void Apply(const StepPlan& plan, TimePoint now);
  // The applied step has ended after `seconds`. `drawn` has an entry per row;
  // empty: the step failed, and its rows' KV is garbage. `shed`: so is that of
  // its elastic streams, and none of them has answered; of a step that gives
  // way, nobody has.
  void Commit(const StepPlan& plan,
              std::span<const std::optional<TokenId>> drawn, double seconds,
              TimePoint now, bool shed = false);
  // Whether the step in flight should go on without its elastic streams, or end
  // where it gives way, if it can: somebody waits for its end.
  bool WantsShed(const StepPlan& in_flight) const;

  // The hand-over's terminal event. Complete: the request joins the decode
  // batch. Failed: its prompt is computed again on the decode device.
  // REQUIRES: no lease is on its blocks any more.
  void CompleteTransfer(RequestId id, TimePoint now);
  void FailTransfer(RequestId id, TimePoint now);

  // Streams that were computed elsewhere (stream_catch_up.h). Once a turn:
  // those of which `source` may be sent to `destination` now, layer 0 excepted.
  // They are on their way until CompleteSend or FailSend, or until the
  // scheduler has no more use for that: the caller gives up the transfers of
  // those that TakeAbandonedSends appends.
  void TakeSends(TimePoint now, std::vector<CatchUpId>& out) {
    state_.now = now;
    catch_ups_.TakeSends(out);
  }
  void TakeAbandonedSends(std::vector<CatchUpId>& out) {
    catch_ups_.TakeAbandoned(out);
  }
  // The transfer's terminal event. REQUIRES: the stream is on its way; no lease
  // is on its blocks any more.
  void CompleteSend(CatchUpId id, TimePoint now) {
    state_.now = now;
    catch_ups_.CompleteSend(id);
  }
  void FailSend(CatchUpId id, TimePoint now) {
    state_.now = now;
    catch_ups_.FailSend(id);
  }
  // Null: it has arrived, or was given up.
  const StreamCatchUp* FindCatchUp(CatchUpId id) const {
    return catch_ups_.Find(id);
  }
  std::span<const std::unique_ptr<StreamCatchUp>> catch_ups() const {
    return state_.catch_ups;
  }

  // Of best-of-n: the candidate's answer is complete, or nobody wants it.
  // `leads`: it is better than those complete before it, so its blocks are kept
  // while nobody else needs them, and theirs are not.
  // REQUIRES: it has drawn a token; no step is in flight on it.
  void CompleteCandidate(RequestId id, uint32_t candidate, bool leads = false) {
    best_of_.Complete(*state_.requests.Find(id), candidate, leads);
  }
  // The request's own answer is complete, and its candidates go on until
  // Finish, in rows that nobody else has a use for.
  // REQUIRES: kDecoding; no step is in flight on it.
  void Linger(RequestId id, TimePoint now);

  // The device can run nothing until it is restored. Its requests go back to
  // the queue, to be computed again elsewhere from their tokens, answers
  // included; transfers from or to it are of no use any more. `memory_lost`:
  // nothing in its pool is worth anything, unless another device shares the
  // pool and lives. REQUIRES: its step, if any, has been committed as failed.
  // Returns those whose hand-over must be abandoned: what was put back.
  std::vector<RequestId> LoseDevice(DeviceId device, bool memory_lost,
                                    TimePoint now);
  void RestoreDevice(DeviceId device, TimePoint now);
  // No new hand-over between the two before `until`: a checksum differed.
  void AvoidPair(PoolId from, PoolId to, TimePoint until);

  // Up, and neither running a step nor lent to one.
  bool available(DeviceId device) const { return state_.Device(device).idle(); }
  bool up(DeviceId device) const { return state_.Device(device).up; }
  // Null when unknown, or finished.
  const Request* Find(RequestId id) const { return state_.requests.Find(id); }
  PoolId pool_of(DeviceId device) const {
    return state_.Device(device).config.pool;
  }
  BlockPool& pool(PoolId id) { return state_.pools[id.value()]->blocks(); }
  const BlockPool& pool(PoolId id) const {
    return state_.pools[id.value()]->blocks();
  }
  const PrefixIndex& index(PoolId id) const {
    return state_.pools[id.value()]->index();
  }
  size_t pool_count() const { return state_.pools.size(); }
  uint32_t count(RequestState state) const { return state_.count(state); }
  const AdmissionQueue& queue() const { return state_.queue; }
  const DecisionLog& decisions() const { return state_.decisions; }
  // Of steps on that many lent devices' cores.
  const StepTimeModel& step_time(DeviceId device, size_t lent = 0) const {
    return state_.Device(device).time[lent];
  }
  const SchedulerConfig& config() const { return state_.config; }
  StreamStats stream_stats() const;
  const BestOfStats& best_of_stats() const { return state_.best_of_stats; }

  // Recounts everything and CHECKs it.
  void CheckInvariants() const;

 private:
  // scheduler_commit.cc
  void Admit(const std::vector<Admission>& admissions);
  void LearnStep(DeviceState& device, size_t lent, const StepShape& shape,
                 double seconds);
  void CommitRows(DeviceState& device, Request& request,
                  const PlannedRows& rows, std::optional<TokenId> drawn);
  void CommitChunk(DeviceState& device, Request& request,
                   const PlannedRows& rows, std::optional<TokenId> drawn);
  // scheduler_moves.cc
  void StartPrefill(Request& request, DeviceState& device);
  void StopPrefill(Request& request);
  void EndPrefill(Request& request);
  void JoinDecode(Request& request);
  void Recompute(Request& request);
  void Requeue(Request& request);
  void Unlist(Request& request);
  void Publish(Request& request);
  void NoteAnswer(const Request& request);

  SchedulerState state_;
  const Forecast forecast_{state_};
  const StepPlanner step_planner_{state_};
  Roles roles_{state_};
  Binder binder_{state_, roles_};
  WaitingRequests waiting_{state_, binder_};
  ElasticStreams streams_{state_};
  CatchUps catch_ups_{state_, streams_};
  BestOfCandidates best_of_{state_};
};

}  // namespace braid
