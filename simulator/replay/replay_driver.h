// Runs a trace through the production Scheduler in virtual time: a queue of
// events in place of the engine's loop, step times from WorkerTimes in place of
// a runner, hand-overs over SharedLinks in place of a transport. Everything
// that decides is the daemon's own code: admission, placement, chunks, prefix
// index, eviction.
//
// An event's turn is the engine's: what has ended is committed, transfers that
// have landed join the decode batch, arrivals are offered, then every idle
// worker is planned, applied and launched, those that only decode first.
//
// Deterministic: equal inputs make equal results, but for wall_seconds.
//
// Thread safety: none; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "scheduler/placement_policy.h"
#include "simulator/replay/cluster.h"
#include "simulator/replay/replay_result.h"
#include "simulator/replay/trace.h"
#include "simulator/replay/worker_times.h"

namespace braid {

struct ReplayProgress {
  double simulated = 0;  // seconds
  uint64_t arrived = 0, ended = 0, of = 0;
  // Ended, and not within both targets.
  uint64_t missed = 0;
};

struct ReplayHooks {
  // Called every thousand turns; may be empty. False ends the replay there.
  std::function<bool(const ReplayProgress&)> progress;
  // Every decision of the scheduler as a line; may be empty.
  std::function<void(const std::string&)> decision;
};

// INVALID_ARGUMENT when the cluster cannot run anything of the kind, INTERNAL
// when requests wait that nothing will ever wake (a defect: it tells which).
absl::StatusOr<ReplayResult> Replay(const Trace& trace,
                                    const ClusterSpec& cluster,
                                    const WorkerTimes& times,
                                    const PlacementPolicy& policy,
                                    const ReplayHooks& hooks = {});

}  // namespace braid
