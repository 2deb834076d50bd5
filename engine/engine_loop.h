// The loop itself, one turn at a time, under a time that is given: the engine's
// thread turns it in production, tests and the simulator turn it by hand.
//
// A turn: take the mail, finish steps, take cancellations and deadlines, take
// the transport's events and the scheduler's refusals, then plan and launch
// every idle device. So what has
// ended in a turn is back in the pools before the same turn plans.
//
// Threads: Submit, Cancel, Drain, Snapshot and Decisions may be called by any
// thread; all else by one thread, which owns all state but the mailbox and the
// published copies.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/kv_handoff.h"
#include "engine/mailbox.h"
#include "engine/outages.h"
#include "engine/request_record.h"
#include "scheduler/scheduler.h"

namespace braid {

class EngineLoop final {
 public:
  static absl::StatusOr<std::unique_ptr<EngineLoop>> Create(
      EngineConfig config);
  ~EngineLoop();  // REQUIRES: at_rest().

  // As in Engine. Any thread.
  absl::StatusOr<RequestId> Submit(GenerateRequest request,
                                   std::shared_ptr<TokenSink> sink);
  void Cancel(RequestId id) { mailbox_.Cancel(id); }
  bool Drain(Duration timeout);
  EngineStats Snapshot() const;
  DecisionPage Decisions(uint64_t since, size_t limit) const;
  const std::vector<ServiceClass>& classes() const { return config_.classes; }
  void Wake() { mailbox_.Wake(); }

  // One turn. False: nothing has happened, and nothing will before there is
  // mail or NextDeadline() has come.
  bool RunOnce(TimePoint now);
  TimePoint NextDeadline() const;
  // Until there may be something to do.
  void Wait(TimePoint now);
  // Whether Wait would return at once: for who turns the loop in virtual time.
  bool ready(TimePoint now) const {
    return mailbox_.has_mail() || NextDeadline() <= now;
  }

  // Ends every request with kFailed, and every one that still comes. Turns go
  // on until at_rest().
  void Stop(TimePoint now);
  // No request, no step in flight, no transfer without its terminal event.
  bool at_rest() const;

  const Scheduler& scheduler() const { return *scheduler_; }

 private:
  struct Slot {
    EngineDevice device;
    bool running = false;
    TimePoint launched;
    StepPlan plan;
    ForwardBatch batch;
    // Of requests that ended while the step in flight reads them.
    std::vector<std::unique_ptr<RequestRecord>> retired;
  };

  explicit EngineLoop(EngineConfig config);
  absl::Status RegisterPools();

  // engine_submit.cc
  absl::Status CheckRequest(const GenerateRequest& request) const;
  // REQUIRES: the prompt fits the context.
  uint32_t MostTokens(const GenerateRequest& request) const;

  void Enqueue(Submission submission, TimePoint now);
  void FinishStep(size_t slot, ForwardResult result, TimePoint now);
  void FailStep(Slot& slot, const absl::Status& why, TimePoint now);
  void FinishRows(const PlannedRows& rows, SequenceResult& result, bool shed,
                  TimePoint now);
  void AddCatchUp(const PlannedRows& rows, ForwardBatch& batch);
  void StreamLayers(const Slot& slot, uint32_t layers);
  bool ExpireDeadlines(TimePoint now);
  bool TakeRefusals(TimePoint now);
  bool LaunchIdle(TimePoint now);
  void AskToShed();
  void NotePreemptions(const StepPlan& plan, TimePoint now);
  void NoteAdmissions(const StepPlan& plan, TimePoint now);
  void Launch(size_t slot, TimePoint now);
  void Refuse(const Refusal& refusal, TimePoint now);
  void End(RequestId id, FinishReason reason, absl::Status status,
           TimePoint now);
  void Close(RequestRecord& record, Outcome outcome, TimePoint now);
  // Stamps where the request is now.
  void Track(const Request& request, RequestRecord& record, TimePoint now);
  RequestRecord* Record(RequestId id);
  Slot& SlotOf(DeviceId id);

  // engine_best_of.cc
  void EndFirst(RequestId id, FinishReason reason, TimePoint now);
  bool EndLingering(TimePoint now);
  void EndWithAnswer(RequestId id, TimePoint now);
  void FinishCandidate(const PlannedRows& rows, SequenceResult& result,
                       TimePoint now);
  void CountBestOf(const BestOfReport& report);

  // engine_faults.cc
  void LoseDevice(Slot& slot, const absl::Status& why, TimePoint now);
  bool RestoreDevices(TimePoint now);
  void ForgetHandoff(RequestId id);
  bool TakeHandoffs(TimePoint now);
  bool TakeHandoff(const HandoffEvent& event, TimePoint now);
  void TakeSend(const HandoffEvent& event, TimePoint now);
  bool SendStreams(TimePoint now);
  void NoteDamage(const HandoffEvent& event, TimePoint now);

  void CountStep(size_t slot, const ForwardResult& result, TimePoint now);
  void CountToken(const RequestRecord& record, TimePoint now);
  void CountFinished(uint32_t service_class, const Outcome& outcome);
  void PublishStats(TimePoint now, bool idle);
  void PublishModels();
  void PublishDecisions();

  EngineConfig config_;
  Mailbox mailbox_;
  std::unique_ptr<KvTransport> transport_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<KvHandoff> handoff_;
  std::vector<Slot> slots_;  // as the devices in the configuration
  // Devices that only decode come first: a running answer goes on before the
  // idle cores are given away.
  std::vector<size_t> launch_order_;
  absl::flat_hash_map<RequestId, std::unique_ptr<RequestRecord>> records_;
  std::set<std::pair<TimePoint, RequestId>> deadlines_;
  // Whose own answer is complete, by when they wait for candidates no longer.
  std::set<std::pair<TimePoint, RequestId>> lingering_;
  Mail mail_;
  std::vector<HandoffEvent> handoff_events_;
  std::vector<Refusal> refused_;
  std::vector<CatchUpId> sends_;  // scratch of SendStreams
  std::vector<std::optional<TokenId>> drawn_;
  bool stopping_ = false;
  Outages outages_;
  TimePoint turn_;      // when the last one was
  uint32_t ended_ = 0;  // in this turn, for the mailbox's books

  EngineStats stats_;  // as it grows
  TimePoint stats_published_;
  uint64_t decisions_published_ = 0;  // the last one's sequence
  bool stats_changed_ = true;
  mutable std::mutex stats_mutex_;
  EngineStats published_;  // guarded by stats_mutex_, as is what follows
  std::deque<Decision> decisions_;
};

}  // namespace braid
