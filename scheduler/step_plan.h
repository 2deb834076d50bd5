// What one device does next, as plain structs: comparable and printable, so
// that tests show plans as text and a log can be read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "scheduler/placement_policy.h"
#include "scheduler/step_time_model.h"

namespace braid {

enum class RowKind : uint8_t {
  kChunk,   // of a prompt; of a fixed gang, one for each of its streams
  kDecode,  // the next token's row of stream 0
  kStream,  // of another stream: all that it lacks, or a part of it
  // Of a further candidate of best-of-n: likewise, and behind the last a token
  // is drawn.
  kCandidate,
  kCatchUp,  // of another stream, of a request that decodes elsewhere
};

// Consecutive tokens [first, first + count) of one stream of a request. A step
// has thousands, so it is small.
struct PlannedRows {
  RequestId request;
  RowKind kind = RowKind::kDecode;
  uint32_t slot = 0;  // its place in the scheduler's table
  uint32_t first = 0;
  uint32_t count = 1;
  bool draws = true;   // a token is drawn after the last row
  uint8_t stream = 0;  // or candidate
  // Of stream 0: that many streams answer together. The entries behind this one
  // are those of streams 1, 2 ..., with equal ends; and behind them, of a
  // request that decodes, may be one that only catches up.
  uint8_t gang = 1;
  friend bool operator==(const PlannedRows&, const PlannedRows&) = default;
};
// Their work, as far as a step's time depends on it.
inline void AddRows(const PlannedRows& rows, StepShape& shape) {
  switch (rows.kind) {
    case RowKind::kDecode:
      return shape.AddDecodeRow(rows.first + 1);
    case RowKind::kChunk:
    case RowKind::kCatchUp:
      return shape.AddChunk(rows.first, rows.count);
    case RowKind::kStream:
    case RowKind::kCandidate:
      return shape.AddStreamRows(rows.first, rows.count);
  }
}

// A request leaves the queue: where it runs, which cached blocks it shares and
// how many blocks it takes. All that it will ever need is taken here.
struct Admission {
  RequestId request;
  uint32_t slot = 0;
  DeviceId prefill, decode;
  PlacementReason reason = PlacementReason::kOneDevice;
  std::vector<BlockId> shared;  // in the prefill device's pool
  uint32_t taken = 0;
  // In the decode device's pool, when that is another one.
  std::vector<BlockId> landing_shared;
  uint32_t landing_taken = 0;
  // Of a gang: as many as in `shared`, for each of its further streams. `taken`
  // counts the blocks of all streams.
  std::vector<BlockId> streams_shared;
  friend bool operator==(const Admission&, const Admission&) = default;
};

// What becomes of the KV of a request that is put back. A lower tier of memory
// would be another action.
enum class PreemptAction : uint8_t { kRecompute };

struct Preemption {
  RequestId request;
  uint32_t slot = 0;
  PreemptAction action = PreemptAction::kRecompute;
  // Predicted seconds: to compute it again, and that another waits no longer.
  double cost = 0, gain = 0;
  friend bool operator==(const Preemption&, const Preemption&) = default;
};

// A request's elastic streams from `keep` on give their blocks back: somebody
// needs them.
struct StreamDrop {
  RequestId request;
  uint32_t slot = 0;
  uint32_t keep = 1;
  friend bool operator==(const StreamDrop&, const StreamDrop&) = default;
};

// A candidate of best-of-n gives its blocks back, as its request's streams do.
struct CandidateDrop {
  RequestId request;
  uint32_t slot = 0;
  uint32_t candidate = 1;
  friend bool operator==(const CandidateDrop&, const CandidateDrop&) = default;
};

// A stream is to be computed here, and sent to where its request decodes.
struct CatchUpStart {
  RequestId request;
  uint32_t slot = 0;
  uint32_t stream = 1;
  uint32_t blocks = 0;  // of its tokens, all of them full
  // The first of them: known in the device's pool, and had where it decodes.
  std::vector<BlockId> shared, landing_shared;
  friend bool operator==(const CatchUpStart&, const CatchUpStart&) = default;
};

struct StepPlan {
  DeviceId device;
  // Back to the queue before anything else: a better class needs their blocks
  // or rows.
  std::vector<Preemption> preempted;
  std::vector<StreamDrop> dropped;  // then these
  std::vector<CandidateDrop> candidates_dropped;
  std::vector<CatchUpId> catch_ups_dropped;
  std::vector<Admission> admissions;
  std::optional<CatchUpStart> catch_up;
  std::vector<PlannedRows> rows;  // empty: nothing to launch
  std::vector<DeviceId> lent;     // idle devices whose cores it uses
  // Rows that streams could have had, and beside them candidates: StreamStats,
  // BestOfStats.
  uint32_t offered = 0, best_of_offered = 0;
  uint32_t unfilled = 0;  // of the former, for want of their KV
  // Steps whose share of what streams may add is left to later ones.
  double saved = 0;
  // Seconds by which streams and candidates are to make it longer.
  double added = 0;
  // All that is in it stands aside for prompts: who comes while it runs ends it
  // (owing.h).
  bool gives_way = false;
  bool preempts(RequestId id) const {
    return std::ranges::find(preempted, id, &Preemption::request) !=
           preempted.end();
  }
  // Nothing to apply.
  bool empty() const { return rows.empty() && preempted.empty() && !drops(); }
  // Somebody waits for blocks, or they are of no use.
  bool drops() const {
    return !dropped.empty() || !candidates_dropped.empty() ||
           !catch_ups_dropped.empty();
  }
  friend bool operator==(const StepPlan&, const StepPlan&) = default;
};

// Of all its rows.
StepShape ShapeOf(const StepPlan& plan);

// "d0 lent d1 | admit r3 d0>d1 cached 2 take 5+8 split | chunk r3 32+64 draw |
// decode r1 45 gang 2 | stream r1.1 45 | stream r1.2 17+8"
std::string ToString(const StepPlan& plan);

}  // namespace braid
