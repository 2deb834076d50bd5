// EngineLoop's part that counts.
#include <cmath>

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
  ClassStats& its_class = stats_.classes[record.service_class()];
  if (record.first_token_sent()) {
    its_class.inter_token_seconds.Add(now - record.last_token());
    return;
  }
  const Duration seen = now - record.received();
  its_class.time_to_first_token_seconds.Add(seen);
  if (record.predicted_ttft() > 0 && seen > Duration::zero()) {
    its_class.time_to_first_token_error.Add(
        std::abs(record.predicted_ttft() - ToSeconds(seen)) / ToSeconds(seen));
  }
}

void EngineLoop::CountFinished(uint32_t service_class, const Outcome& outcome) {
  ++stats_.requests_finished[static_cast<size_t>(outcome.reason)];
  if (outcome.retry_after > 0) return;  // Refused: it was nowhere.
  ClassStats& its_class = stats_.classes[service_class];
  for (int stage = 0; stage < kStageCount; ++stage) {
    its_class.stage_seconds[stage].Add(outcome.times.spent[stage]);
  }
  its_class.request_seconds.Add(outcome.times.finished -
                                outcome.times.received);
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
  stats_.avoided = outages_.avoided(now);
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
