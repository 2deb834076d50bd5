// Plain counters of an engine; the exporter turns them into metrics.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/outages.h"
#include "engine/stage_times.h"
#include "engine/token_sink.h"
#include "kvcache/block_pool.h"
#include "kvcache/prefix_index.h"
#include "kvcache/transport/kv_transport.h"
#include "scheduler/refusal.h"
#include "scheduler/split.h"
#include "scheduler/stream_terms.h"

namespace braid {

inline constexpr int kRefusalReasonCount = 5;

// Counts in fixed buckets, as Prometheus wants them.
struct DurationHistogram {
  static constexpr std::array<double, 18> kBounds = {  // seconds
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
      0.1,    0.25,    0.5,    1.0,   2.5,    5.0,   10,   30,    120};
  std::array<uint64_t, kBounds.size() + 1> counts{};
  double sum = 0;  // seconds
  void Add(Duration d);
};
struct RatioHistogram {
  static constexpr std::array<double, 10> kBounds = {0.02, 0.05, 0.1, 0.2, 0.3,
                                                     0.5,  0.75, 1.0, 2.0, 5.0};
  std::array<uint64_t, kBounds.size() + 1> counts{};
  double sum = 0;
  void Add(double ratio);
};

// Of requests of one service class.
struct ClassStats {
  std::string name;
  uint32_t queued = 0;
  std::array<uint64_t, kRefusalReasonCount> refused{};
  uint64_t preempted = 0;
  // Of requests that have ended, but for those that were refused: together a
  // request's stages are its wall time.
  std::array<DurationHistogram, kStageCount> stage_seconds;
  DurationHistogram request_seconds;
  DurationHistogram time_to_first_token_seconds, inter_token_seconds;
  // |predicted - seen| / seen, of times to the first token.
  RatioHistogram time_to_first_token_error;
};

// What a device's step is believed to cost; seconds. See StepTimeModel.
struct StepModelStats {
  double base = 0, chunk_token = 0, chunk_attended = 0, decode_row = 0,
         decode_attended = 0;
  double relative_error = 0;  // lately, of steps before they were learned from
  uint64_t observed = 0;      // steps
};

struct DeviceStats {
  DeviceId id;
  std::string name;
  DeviceRole role = DeviceRole::kBoth;
  bool up = true;
  uint64_t times_lost = 0;
  TimePoint retry;  // when it is not up
  uint64_t steps = 0;
  uint64_t prefill_tokens = 0;
  uint64_t decode_tokens = 0;
  uint64_t stream_tokens = 0;   // of PARSCALE streams other than the first
  uint32_t streams_active = 0;  // of those, that answered in its last step
  uint64_t lent_steps = 0;      // ran with other devices' cores as well
  DurationHistogram step_seconds;
  // By the number of other devices whose cores it was lent.
  std::vector<StepModelStats> models;
};

// Best-of-n: candidates besides each request's first.
struct BestOfCounts {
  uint64_t started = 0, completed = 0;
  uint64_t dropped = 0;   // started, and not complete when their request ended
  uint64_t chosen = 0;    // requests whose best answer was not the first
  uint64_t requests = 0;  // answered, of those that asked for it
};

struct EngineStats {
  uint64_t requests_received = 0, requests_refused = 0;
  std::array<uint64_t, kFinishReasonCount> requests_finished{};
  uint64_t requests_split = 0, requests_bypassed = 0;
  uint32_t queued = 0, prefilling = 0, transferring = 0, decoding = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, output_tokens = 0;
  uint64_t slow_readers = 0;
  uint64_t requests_recomputed = 0;  // because a device was lost
  std::vector<ClassStats> classes;   // as configured, best first
  std::vector<DeviceStats> devices;
  // By pool, then BlockState.
  std::vector<std::array<uint32_t, kBlockStateCount>> kv_blocks;
  std::vector<PrefixIndexStats> prefix;
  StreamStats streams;  // PARSCALE
  BestOfCounts best_of;
  BestOfStats candidates;  // of it: their rows and blocks
  TransportStats transport;
  std::string transport_name;
  uint64_t role_changes = 0;   // devices that began to work for the other pool
  uint64_t pairs_avoided = 0;  // times that a pair of pools began to be
  std::vector<AvoidedPair> avoided;  // now
};

}  // namespace braid
