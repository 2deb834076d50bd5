// The further streams of requests (stream_terms.h): what steps take of their
// blocks and leave in them, and how they come and go with their requests.
// StreamPlanner says when.
//
// Thread safety: engine thread only.
// Invariant: an elastic stream holds blocks only while its request decodes, or
// a step works on them; and has used all that it holds.
#pragma once

#include <cstdint>
#include <span>

#include "scheduler/request.h"
#include "scheduler/scheduler_state.h"
#include "scheduler/step_plan.h"

namespace braid {

class ElasticStreams final {
 public:
  explicit ElasticStreams(SchedulerState& state) : state_(state) {}

  // The request is admitted: other devices may compute its streams. They are of
  // use when it decodes.
  void Open(Request& request);
  // It does not decode any more. What a step works on follows with its Commit.
  void Close(Request& request);

  void ApplyDrops(const StepPlan& plan);
  // Those that the plan begins share what is known of them: all of them before
  // the first eviction, as what one shares must not make room for another.
  void StartAll(const StepPlan& plan);
  // A step begins with those rows of a stream, elastic or of a gang, and ends.
  void Apply(DeviceState& device, Request& request, const PlannedRows& rows);
  void Commit(DeviceState& device, Request& request, const PlannedRows& rows,
              bool failed);
  // That many of its streams answer a token.
  void SetAnswered(Request& request, uint32_t streams);
  // An equal block that is known already takes the place of its own.
  void Publish(Request& request, RequestStream& stream);
  // Gives back the blocks of an elastic request's streams from `keep` on, but
  // not of those that a step works on. Returns how many held any.
  uint32_t Drop(Request& request, uint32_t keep);

  // Somebody waits for what a step of the device takes: its cores, or those
  // lent to it, or blocks.
  bool IsPressed(const DeviceState& device,
                 std::span<const DeviceId> lent) const;
  // A step of the device has ended.
  void NotePressure(DeviceState& device, std::span<const DeviceId> lent,
                    bool shed);

 private:
  void Start(Request& request, RequestStream& stream, uint32_t first);

  SchedulerState& state_;
};

}  // namespace braid
