// Streams that are computed on one device for a request that decodes on another
// (stream_catch_up.h): what they take, and how they arrive or are given up.
// CatchUpPlanner says which, and when they may be sent.
//
// Thread safety: engine thread only.
// Invariant: each is of a stream that knows it (RequestStream::catch_up),
// unless it is over and a step works on it; a device computes one at most.
#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/elastic_streams.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"
#include "scheduler/stream_catch_up.h"

namespace braid {

class CatchUps final {
 public:
  // `streams`: where they land. Outlives it.
  CatchUps(SchedulerState& state, ElasticStreams& streams)
      : state_(state), streams_(streams) {}

  void ApplyDrops(const StepPlan& plan);
  // What the plan begins, goes on with, or has no time for.
  void Apply(DeviceState& device, const StepPlan& plan);
  void Commit(DeviceState& device, const PlannedRows& rows, bool failed,
              bool shed);

  // As of Scheduler.
  void TakeSends(std::vector<CatchUpId>& out);
  void TakeAbandoned(std::vector<CatchUpId>& out);
  void CompleteSend(CatchUpId id);
  void FailSend(CatchUpId id);
  const StreamCatchUp* Find(CatchUpId id) const;

  // The request ends, or is put back.
  void GiveUpAllOf(Request& request);
  // The device is lost: what it computes, and what is on its way from it.
  void GiveUpAllOf(const DeviceState& device);

 private:
  void Start(DeviceState& device, const CatchUpStart& start);
  StreamCatchUp& At(CatchUpId id);
  void CutShort(StreamCatchUp& catch_up);
  void Land(StreamCatchUp& catch_up);
  void GiveUp(StreamCatchUp& catch_up, const char* reason);
  void Forget(StreamCatchUp& catch_up);

  SchedulerState& state_;
  ElasticStreams& streams_;
  uint64_t last_id_ = 0;
  std::vector<CatchUpId> abandoned_;  // not yet taken by the caller
};

}  // namespace braid
