// Plain counters of an engine; the exporter turns them into metrics.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kvcache/block_pool.h"
#include "kvcache/prefix_index.h"
#include "kvcache/transport/kv_transport.h"

namespace braid {

// Counts of durations in fixed buckets, as Prometheus wants them.
struct DurationHistogram {
  static constexpr std::array<double, 18> kBoundsSeconds = {
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
      0.1,    0.25,    0.5,    1.0,   2.5,    5.0,   10,   30,    120};
  std::array<uint64_t, kBoundsSeconds.size() + 1> counts{};
  double sum_seconds = 0;
  void Add(Duration d);
};

struct DeviceStats {
  std::string name;
  uint64_t steps = 0;
  uint64_t prefill_tokens = 0;
  uint64_t decode_tokens = 0;
  uint64_t lent_steps = 0;  // ran with other devices' cores as well
  DurationHistogram step_seconds;
};

struct EngineStats {
  uint64_t requests_received = 0, requests_refused = 0;
  // By FinishReason.
  std::array<uint64_t, 5> requests_finished{};
  uint64_t requests_split = 0, requests_bypassed = 0;
  uint32_t queued = 0, prefilling = 0, transferring = 0, decoding = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, output_tokens = 0;
  uint64_t slow_readers = 0;
  std::vector<DeviceStats> devices;
  // By pool, then BlockState.
  std::vector<std::array<uint32_t, kBlockStateCount>> kv_blocks;
  std::vector<PrefixIndexStats> prefix;
  TransportStats transport;
  std::string transport_name;
  // Stages of finished requests; together they are the request's wall time.
  DurationHistogram queue_seconds, prefill_seconds, transfer_seconds,
      decode_seconds, time_to_first_token_seconds, request_seconds,
      inter_token_seconds;
};

}  // namespace braid
