// What a replay has seen: every request's fate and what the workers did over
// time. Plain values; reports and figures are made of them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "scheduler/placement_policy.h"
#include "scheduler/stream_terms.h"
#include "simulator/replay/percentiles.h"

namespace braid {

enum class RequestEnd : uint8_t {
  kServed,
  kRefused,     // on arrival
  kShed,        // from the queue
  kTooLong,     // no worker could ever hold it
  kUnfinished,  // the replay was cut short
};
const char* ToString(RequestEnd end);

struct RequestOutcome {
  RequestEnd end = RequestEnd::kUnfinished;
  PlacementReason reason = PlacementReason::kOneDevice;
  uint32_t prefill = 0, decode = 0;  // workers
  uint32_t prompt = 0, cached = 0, output = 0;
  // Seconds. `arrival` since the replay began, the others since arrival.
  double arrival = 0;
  double admitted = 0;
  double first_token = 0;
  double last_token = 0;
  double handed_over = 0;  // of them, from first token to the KV's arrival
  double longest_gap = 0;  // between two tokens

  bool served() const { return end == RequestEnd::kServed; }
  // Mean seconds between tokens; 0 with one token.
  double tpot() const {
    return output > 1 ? (last_token - first_token) / (output - 1) : 0;
  }
};

// Whether a served request met a target, given in seconds. A nanosecond or two
// that rounding to the clock's ticks adds are forgiven.
bool MetTtft(const RequestOutcome& request, double target);
bool MetTpot(const RequestOutcome& request, double target);

// One worker during one bin of the timeline.
struct WorkerBin {
  // Seconds of steps with prompt tokens only, decode rows only, both.
  double prefill = 0, decode = 0, mixed = 0;
  double kv_used = 0;  // share of blocks held by requests, at the bin's end
};

struct ClusterBin {
  uint32_t waiting = 0, running = 0, in_transfer = 0;  // at the bin's end
  double stream_kv = 0;  // share of blocks that streams hold, at the bin's end
  // Tokens drawn, and the streams that answered them, summed.
  uint64_t tokens = 0, answered = 0;
};

// What PARSCALE streams did.
struct StreamCounts {
  StreamStats stats;   // the scheduler's own
  uint64_t steps = 0;  // with rows of streams
  // Tokens drawn, by the streams that answered.
  std::array<uint64_t, kMostStreams + 1> tokens{};
  // How soon streams make way: requests, by how many steps with streams were
  // launched on the worker of their prompt while they waited for it. The last
  // one: that many or more.
  static constexpr size_t kMostWaited = 8;
  std::array<uint64_t, kMostWaited + 1> waited{};
};

struct ReplayResult {
  std::vector<RequestOutcome> requests;  // in order of arrival
  TimeHistogram gaps;                    // between tokens, all requests
  double bin_seconds = 1;
  std::vector<std::vector<WorkerBin>> workers;  // by worker, then bin
  std::vector<ClusterBin> cluster;              // by bin

  uint64_t missed = 0;     // requests that ended without both targets met
  bool cut_short = false;  // a hook ended it
  double end = 0;          // simulated seconds until the last event
  uint64_t steps = 0, decode_rows = 0, chunk_tokens = 0;
  StreamCounts streams;
  uint64_t preemptions = 0;
  uint64_t blocks_evicted = 0;
  double nvlink_bytes = 0, network_bytes = 0;
  double wall_seconds = 0;  // the only field that differs between reruns
};

}  // namespace braid
