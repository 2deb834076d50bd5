// How long a worker of a cluster needs for a step, and what its memory holds:
// from the measured tables of simulator/gpu, or from the closed form that the
// cluster file gives.
//
// Thread safety: immutable once made.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "scheduler/step_time_model.h"
#include "simulator/replay/cluster.h"
#include "simulator/replay/trace.h"

namespace braid {

// `count` tokens of a prompt, or of a stream that catches up, behind `before`
// others of it.
struct ChunkRows {
  uint32_t before = 0, count = 0;
};

struct WorkerTimes {
  // Of one step: its chunks, its decode rows, the rows of further streams, and
  // the tokens that these two attend to in all. > 0.
  std::function<double(std::span<const ChunkRows> chunks, uint32_t decode_rows,
                       uint64_t decode_attended, uint32_t stream_rows)>
      seconds;
  uint64_t kv_tokens = 0;           // one worker
  uint64_t kv_bytes_per_token = 0;  // one worker
  // What the scheduler believes before it has seen a step: fitted to `seconds`
  // by asking a few shapes, as a daemon would at its start.
  StepTimeModel::Prior prior;
};

// `profiles`: the folder of the tables; empty: the default one.
absl::StatusOr<WorkerTimes> LoadWorkerTimes(const ClusterSpec& cluster,
                                            const std::string& profiles);

// How many requests of the trace could meet the TTFT target at all: the prompt
// behind its longest prefix that any request before it had, computed at once on
// a worker that does nothing else. No policy on these machines serves more of
// them in time.
uint64_t CountFeasible(const Trace& trace, const ClusterSpec& cluster,
                       const WorkerTimes& times);

}  // namespace braid
