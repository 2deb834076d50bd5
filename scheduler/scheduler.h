// Decides what every device runs next, and keeps the books of requests and
// blocks. Three verbs per step of a device:
//
//   Plan    const: looks at the state and returns a StepPlan
//   Apply   takes the blocks that the plan says; cannot fail
//   Commit  the step is over: appends tokens, publishes prefixes, moves on
//
// Admission. A request leaves the queue only when every block that it can ever
// need, for prompt and output, can be taken at once, in the decode pool as well
// as in the prefill pool. So what runs never waits for blocks: it ends, gives
// them back, and the head of the queue is next. The queue is in order of
// arrival and nobody overtakes the head on blocks, so nobody starves.
//
// Thread safety: engine thread only. No clock, no I/O, no randomness: equal
// calls make equal plans.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/ids.h"
#include "kvcache/block_pool.h"
#include "kvcache/prefix_index.h"
#include "scheduler/decision_log.h"
#include "scheduler/placement.h"
#include "scheduler/refusal.h"
#include "scheduler/request.h"
#include "scheduler/service_class.h"
#include "scheduler/split.h"
#include "scheduler/step_plan.h"

namespace braid {

struct SchedulerDevice {
  DeviceId id;
  DeviceRole role = DeviceRole::kBoth;
  PoolId pool;            // where its blocks are
  uint32_t max_rows = 0;  // of one step
};

struct SchedulerConfig {
  std::vector<SchedulerDevice> devices;
  std::vector<uint32_t> pool_blocks;  // capacity of PoolId(i)
  uint32_t block_tokens = 16;
  SplitMode split = SplitMode::kAuto;
  uint32_t max_context = 0;
  uint32_t prefill_chunk = 256;  // most prompt tokens in a step
  uint32_t max_running = 256;    // admitted, not finished
  bool lend_cores = true;
  bool prefix_cache = true;
  // Best first.
  std::vector<ServiceClass> classes;
};

class Scheduler final {
 public:
  // INVALID_ARGUMENT when the configuration contradicts itself.
  static absl::Status Validate(const SchedulerConfig& config);

  explicit Scheduler(SchedulerConfig config);  // REQUIRES: Validate is OK
  ~Scheduler();

  // Whether a request of that size could ever run on an empty machine.
  // Thread-safe.
  absl::Status CheckSize(size_t prompt_tokens, uint32_t max_output) const;

  // Queues it, or refuses: decided at once, and a refusal keeps nothing.
  // REQUIRES: CheckSize is OK; the id is new.
  std::optional<Refusal> Offer(RequestInput input, TimePoint now);
  // Appends requests that were queued and will not be served: shed, or too
  // late. They are still there; the caller calls Finish for each.
  void TakeRefused(TimePoint now, std::vector<Refusal>& out);

  // Ends the request, whatever its state. Its blocks go back at once, or, when
  // a step is in flight on them, with that step's Commit. Blocks that a
  // transfer is at work on are kept by the transfer's leases.
  void Finish(RequestId id);

  // What an idle device should do now; no rows when nothing. The storage of
  // `reuse` is recycled. REQUIRES: the device is available.
  StepPlan Plan(DeviceId device, TimePoint now, StepPlan reuse = {}) const;
  // REQUIRES: the plan is of this turn, and not empty. The device runs if there
  // are rows.
  void Apply(const StepPlan& plan, TimePoint now);
  // The applied step has ended after `seconds`. `drawn` has an entry per row;
  // empty: the step failed, and its rows' KV is garbage.
  void Commit(const StepPlan& plan,
              std::span<const std::optional<TokenId>> drawn, double seconds,
              TimePoint now);

  // The device can run nothing until it is restored. Its requests go back to
  // the queue, to be computed again elsewhere from their tokens, answers
  // included; transfers from or to it are of no use any more. `memory_lost`:
  // nothing in its pool is worth anything, unless another device shares the
  // pool and lives. REQUIRES: its step, if any, has been committed as failed.
  void LoseDevice(DeviceId device, bool memory_lost, TimePoint now);
  void RestoreDevice(DeviceId device, TimePoint now);
  // No new hand-over between the two before `until`: a checksum differed.
  void AvoidPair(PoolId from, PoolId to, TimePoint until);

  // The hand-over's terminal event. Complete: the request joins the decode
  // batch. Failed: its prompt is computed again on the decode device.
  // REQUIRES: no lease is on its blocks any more.
  void CompleteTransfer(RequestId id, TimePoint now);
  void FailTransfer(RequestId id, TimePoint now);

  // Up, and neither running a step nor lent to one.
  bool available(DeviceId device) const;
  // Null when unknown, or finished.
  const Request* Find(RequestId id) const;
  PoolId pool_of(DeviceId device) const;
  BlockPool& pool(PoolId id) { return pools_[id.value()]->blocks; }
  const BlockPool& pool(PoolId id) const { return pools_[id.value()]->blocks; }
  const PrefixIndex& index(PoolId id) const {
    return pools_[id.value()]->index;
  }
  size_t pool_count() const { return pools_.size(); }
  uint32_t count(RequestState state) const {
    return counts_[static_cast<size_t>(state)];
  }
  const StepCost& cost() const { return cost_; }

  // Recounts everything and CHECKs it.
  void CheckInvariants() const;

 private:
  struct Pool {
    Pool(PoolId id, uint32_t capacity, uint32_t block_tokens)
        : blocks(id, capacity), index(blocks, block_tokens) {}
    BlockPool blocks;
    PrefixIndex index;
  };
  struct Device {
    SchedulerDevice config;
    bool up = true;
    bool running = false;  // a step is in flight
    bool lent = false;     // its cores work for another device's step
    // Requests bound to decode here, from admission to the end.
    uint32_t bound = 0;
    uint32_t transferring = 0;         // of them, on their way
    std::vector<Request*> prefilling;  // here, in order of admission
    std::vector<Request*> decoding;    // here
  };
  // What an admission round may still take.
  struct Ledger {
    std::vector<uint32_t> blocks;  // by pool
    std::vector<uint32_t> bound;   // by device
    uint32_t running = 0;
    uint64_t backlog = 0;  // prompt tokens planned for prefill devices
  };

  static bool MayPrefill(const Device& device);
  static bool MayDecode(const Device& device);
  bool one_device() const;
  Device& device(DeviceId id);
  const Device& device(DeviceId id) const;
  Pool& PoolOf(const BlockTable& table);

  // scheduler_plan.cc
  void PlanRows(const Device& device, StepPlan& plan) const;
  void PlanAdmissions(const Device& device, uint32_t budget,
                      StepPlan& plan) const;
  void PlanLending(const Device& device, StepPlan& plan) const;
  Admission Place(const Request& request, const Device& device,
                  const Ledger& ledger) const;
  bool Fit(const Request& request, Admission& admission, Ledger& ledger) const;
  const Device& LeastBound(const Ledger& ledger, DeviceId avoid) const;
  uint64_t PrefillBacklog() const;
  std::vector<BlockId> MatchPrefix(const Request& request, PoolId pool,
                                   uint32_t tokens) const;

  void Admit(const std::vector<Admission>& admissions);
  void CommitRows(Request& request, const PlannedRows& rows,
                  std::optional<TokenId> drawn);
  void EndPrefill(Request& request);
  void Recompute(Request& request);
  void Requeue(Request& request);
  void Enqueue(Request& request);
  void JoinDecode(Request& request);
  void Publish(Request& request);
  void MoveTo(Request& request, RequestState next);
  void Unlist(Request& request);

  const SchedulerConfig config_;
  std::vector<std::unique_ptr<Pool>> pools_;
  std::vector<Device> devices_;
  // Before the requests' tables, pools; so destroyed after them.
  absl::flat_hash_map<RequestId, std::unique_ptr<Request>> requests_;
  std::deque<Request*> waiting_;
  // Finished while a step was in flight on their blocks.
  absl::flat_hash_map<RequestId, std::unique_ptr<Request>> ended_in_flight_;
  std::array<uint32_t, kRequestStateCount> counts_{};
  StepCost cost_;
};

}  // namespace braid
