// What a replay writes down: the fate of every request, what the workers did
// second by second, and sums. It reads the scheduler and decides nothing.
//
// Thread safety: none; one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "scheduler/scheduler.h"
#include "simulator/replay/cluster.h"
#include "simulator/replay/replay_result.h"
#include "simulator/replay/shared_links.h"

namespace braid {

// A step, when it is launched.
struct RecordedStep {
  uint32_t worker = 0;
  TimePoint started, ends;
  uint32_t decode_rows = 0;
  uint64_t chunk_tokens = 0;  // of prompts
  bool streams = false;       // has rows of PARSCALE streams
};

class ReplayRecorder final {
 public:
  // Both outlive this.
  ReplayRecorder(const ClusterSpec& cluster, const Scheduler& scheduler,
                 size_t requests);

  RequestOutcome& request(size_t index) { return result_.requests[index]; }
  uint64_t ended() const { return ended_; }
  uint64_t missed() const { return result_.missed; }

  void Admitted(const Admission& admission, TimePoint now);
  void Preempted() { ++result_.preemptions; }
  void Launched(const RecordedStep& step);
  // Returns whether it was the request's last. `streams`: that answered it.
  bool Drawn(size_t request, uint32_t streams, TimePoint now);
  void HandedOver(size_t request, TimePoint now);
  void Ended(size_t request, RequestEnd end);

  // Fills the bins of the timeline that end before `now` with the state as it
  // is. Call before anything changes at `now`.
  void SampleUpTo(TimePoint now);

  // REQUIRES: nothing is recorded afterwards.
  ReplayResult Finish(TimePoint now, const SharedLinks& links, bool cut_short);

 private:
  struct Tokens {
    TimePoint last;
    uint32_t drawn = 0;
  };
  void CountWaited(const RequestOutcome& outcome);
  void AddBusy(const RecordedStep& step);

  const ClusterSpec& cluster_;
  const Scheduler& scheduler_;
  ReplayResult result_;
  std::vector<Tokens> tokens_;  // by request
  // By worker, the starts of steps with streams.
  std::vector<std::vector<TimePoint>> with_streams_;
  double blocks_ = 0;  // of all workers
  uint64_t ended_ = 0;
  size_t sampled_ = 0;  // bins
  // Of the bin, so far.
  uint64_t bin_tokens_ = 0, bin_answered_ = 0;
};

}  // namespace braid
