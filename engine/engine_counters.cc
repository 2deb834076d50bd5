// EngineLoop's part that counts.
#include "engine/engine_loop.h"

namespace braid {
namespace {

// A running engine copies its statistics that often at most.
constexpr Duration kPublishInterval = std::chrono::milliseconds(5);

}  // namespace

void EngineLoop::CountStep(size_t index, TimePoint now) {
  const Slot& slot = slots_[index];
  DeviceStats& device = stats_.devices[index];
  ++device.steps;
  device.lent_steps += !slot.plan.lent.empty();
  for (const PlannedRows& rows : slot.plan.rows) {
    (rows.kind == RowKind::kDecode ? device.decode_tokens
                                   : device.prefill_tokens) += rows.count;
  }
  device.step_seconds.Add(now - slot.launched);
}

void EngineLoop::CountToken(const RequestRecord& record, TimePoint now) {
  ++stats_.output_tokens;
  if (record.first_token_sent()) {
    stats_.inter_token_seconds.Add(now - record.last_token());
  } else {
    stats_.time_to_first_token_seconds.Add(now - record.times().received);
  }
}

void EngineLoop::CountFinished(const Outcome& outcome) {
  ++stats_.requests_finished[static_cast<size_t>(outcome.reason)];
  const StageTimes& times = outcome.times;
  stats_.queue_seconds.Add(times.admitted - times.received);
  stats_.prefill_seconds.Add(times.prefill_ended - times.admitted);
  stats_.transfer_seconds.Add(times.transfer_ended - times.prefill_ended);
  stats_.decode_seconds.Add(times.finished - times.transfer_ended);
  stats_.request_seconds.Add(times.finished - times.received);
}

// At most every few milliseconds while there is work, and always before the
// loop falls asleep, so that a copy at rest is exact.
void EngineLoop::PublishStats(TimePoint now, bool idle) {
  if (!stats_changed_) return;
  if (!idle && now - stats_published_ < kPublishInterval) return;
  stats_changed_ = false;
  stats_published_ = now;
  stats_.queued = scheduler_->count(RequestState::kWaiting);
  stats_.prefilling = scheduler_->count(RequestState::kPrefilling);
  stats_.transferring = scheduler_->count(RequestState::kTransferring);
  stats_.decoding = scheduler_->count(RequestState::kDecoding);
  stats_.kv_blocks.resize(scheduler_->pool_count());
  stats_.prefix.resize(scheduler_->pool_count());
  for (uint32_t i = 0; i < scheduler_->pool_count(); ++i) {
    const BlockPool& pool = scheduler_->pool(PoolId(i));
    for (int state = 0; state < kBlockStateCount; ++state) {
      stats_.kv_blocks[i][state] = pool.count(static_cast<BlockState>(state));
    }
    stats_.prefix[i] = scheduler_->index(PoolId(i)).stats();
  }
  stats_.transport = transport_->stats();
  std::lock_guard lock(stats_mutex_);
  published_ = stats_;
}

EngineStats EngineLoop::Snapshot() const {
  EngineStats stats;
  {
    std::lock_guard lock(stats_mutex_);
    stats = published_;
  }
  stats.requests_received = mailbox_.received();
  stats.requests_refused = mailbox_.refused();
  return stats;
}

}  // namespace braid
