// The scheduler's books: devices, pools, links and requests as they are now,
// and what was learned of them. A plain struct: what decides reads it
// (forecast.h, step_planner.h), and what applies decisions changes it.
//
// Thread safety: engine thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "base/clock.h"
#include "base/ids.h"
#include "scheduler/admission_queue.h"
#include "scheduler/answer_lengths.h"
#include "scheduler/decision_log.h"
#include "scheduler/device_state.h"
#include "scheduler/kv_pool.h"
#include "scheduler/link_time_model.h"
#include "scheduler/prompt_load.h"
#include "scheduler/request.h"
#include "scheduler/request_table.h"
#include "scheduler/scheduler_config.h"
#include "scheduler/service_class.h"
#include "scheduler/split.h"
#include "scheduler/stream_allowance.h"
#include "scheduler/stream_catch_up.h"
#include "scheduler/stream_terms.h"

namespace braid {

// From one pool to another.
struct PoolLink {
  LinkTimeModel time;
  LinkTimeModel streams;  // of streams' KV, which is sent at once
  TimePoint avoided_until = TimePoint::min();
};

// Of waiting requests: by device.
using QueuedByDevice = absl::InlinedVector<QueuedWork, 8>;

// Rows that a prompt meets.
struct NearRows {
  uint32_t all = 0, owing = 0;
};

struct SchedulerState {
  explicit SchedulerState(SchedulerConfig config);  // REQUIRES: it is valid

  DeviceState& Device(DeviceId id) {
    return const_cast<DeviceState&>(std::as_const(*this).Device(id));
  }
  const DeviceState& Device(DeviceId id) const;
  PoolId pool_of(DeviceId device) const { return Device(device).config.pool; }
  KvPool& PoolOf(PoolId id) { return *pools[id.value()]; }
  const KvPool& PoolOf(PoolId id) const { return *pools[id.value()]; }
  KvPool& PoolOf(const BlockTable& table) { return PoolOf(table.pool()->id()); }
  PoolLink& LinkOf(PoolId from, PoolId to) {
    return links[from.value() * pools.size() + to.value()];
  }
  const PoolLink& LinkOf(PoolId from, PoolId to) const {
    return links[from.value() * pools.size() + to.value()];
  }
  const ServiceClass& ClassOf(const Request& request) const {
    return config.classes[request.service_class];
  }

  uint32_t BlocksFor(uint64_t tokens) const {
    return static_cast<uint32_t>((tokens + config.block_tokens - 1) /
                                 config.block_tokens);
  }
  // Of its tokens that have KV, or will when its prompt is computed, those in
  // full blocks.
  uint32_t WholeBlocks(const Request& request) const {
    const uint32_t tokens = request.state == RequestState::kPrefilling
                                ? request.size()
                                : request.computed;
    return tokens - tokens % config.block_tokens;
  }
  // All that it can ever need where it decodes.
  uint32_t BlocksOf(const Request& request) const {
    return request.gang * BlocksFor(request.positions());
  }
  // When its next token is due, the last having been drawn at `last`.
  TimePoint DueOf(const Request& request, TimePoint last) const;
  // Where roles are walls, `auto` is `on`.
  SplitMode split() const;

  uint32_t count(RequestState state) const {
    return counts[static_cast<size_t>(state)];
  }
  // Admitted, not finished.
  uint32_t running() const {
    return count(RequestState::kPrefilling) +
           count(RequestState::kTransferring) + count(RequestState::kDecoding);
  }
  // With the counts.
  void MoveTo(Request& request, RequestState next);

  // Calls back with the index of each device that a waiting request is bound
  // to, and what it will take there.
  template <typename Visit>
  void VisitQueued(const Request& request, Visit visit) const;
  // Of those that stand before `key`.
  QueuedByDevice AheadOf(const QueueKey& key) const;
  // Blocks that those ahead, or all that wait, will take there.
  uint64_t PromisedBlocks(PoolId pool,
                          const QueuedByDevice* ahead = nullptr) const;
  // What more elastic streams and candidates may take there.
  uint32_t RoomForElastic(PoolId pool) const {
    return PoolOf(pool).RoomForElastic(PromisedBlocks(pool));
  }
  // Of what is elastic, what no step in flight works on, and no transfer; at
  // least.
  uint32_t ReclaimableNow(PoolId pool) const;
  // Where roles are walls, a gang decodes on a device that is meant to, which
  // prefills it as well.
  bool MayRunGang(const DeviceState& device, uint32_t gang) const;
  // Whom a prompt computed there would meet: who has its cores, where devices
  // lend them.
  NearRows RowsNear(const DeviceState& device) const;

  void Log(DecisionKind kind, const char* reason, const Request& request,
           double predicted, double other);
  void LogDevice(DecisionKind kind, const char* reason,
                 const DeviceState& device);

  const SchedulerConfig config;
  TimePoint now;  // as the last verb was told
  std::vector<std::unique_ptr<KvPool>> pools;
  std::vector<DeviceState> devices;
  std::vector<uint32_t> device_index;  // by id
  std::vector<PoolLink> links;         // [from][to]
  // After the pools; so destroyed before them.
  RequestTable requests;
  std::array<uint32_t, kRequestStateCount> counts{};
  // A few per device; the oldest first.
  std::vector<std::unique_ptr<StreamCatchUp>> catch_ups;
  AdmissionQueue queue;
  DecisionLog decisions;
  // Learned.
  AnswerLengths answers;
  PromptLoad prompt_load;
  StreamAllowance allowance;
  // Counted.
  StreamStats stream_stats;
  BestOfStats best_of_stats;
};

// Inline: once for each request of a step.
inline TimePoint SchedulerState::DueOf(const Request& request,
                                       TimePoint last) const {
  // No token comes later than that many targets after the one before, however
  // early that one was.
  constexpr int kMostTpots = 4;
  const Duration tpot = ClassOf(request).pace();
  const auto drawn = request.size() - request.prompt_size;
  if (drawn == 0) return last + kMostTpots * tpot;
  return std::min(request.first_token + drawn * tpot, last + kMostTpots * tpot);
}

template <typename Visit>
void SchedulerState::VisitQueued(const Request& request, Visit visit) const {
  if (!request.bound) return;
  const uint32_t prefill = Device(request.prefill_device).index;
  const uint32_t decode = Device(request.decode_device).index;
  const bool two_pools =
      pool_of(request.prefill_device) != pool_of(request.decode_device);
  visit(prefill,
        QueuedWork{.prompts = PromptWork::Of(request.hinted, request.size(),
                                             request.gang),
                   .prompt_blocks = two_pools ? BlocksFor(request.size()) : 0});
  visit(decode, QueuedWork{.blocks = BlocksOf(request), .rows = request.gang});
}

}  // namespace braid
