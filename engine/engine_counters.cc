// EngineLoop's part that counts.
#include <algorithm>
#include <cmath>

#include "engine/engine_loop.h"

namespace braid {
namespace {

// A running engine copies its statistics that often at most.
constexpr Duration kPublishInterval = std::chrono::milliseconds(5);
// For readers on other threads.
constexpr size_t kDecisionsKept = 4096;

}  // namespace

void EngineLoop::CountStep(size_t index, const ForwardResult& result,
                           TimePoint now) {
  const Slot& slot = slots_[index];
  DeviceStats& device = stats_.devices[index];
  ++device.steps;
  device.lent_steps += !slot.plan.lent.empty();
  device.streams_active = 0;
  for (size_t i = 0; i < slot.plan.rows.size(); ++i) {
    const PlannedRows& rows = slot.plan.rows[i];
    if (rows.kind == RowKind::kCandidate) continue;
    const auto is_shed = [&](size_t row) {
      return result.shed && slot.batch.sequences[row].may_shed;
    };
    const auto is_lost = [&](size_t row) {
      return !result.status.ok() || is_shed(row);
    };
    if (rows.gang > 1 && !is_lost(i + 1)) {
      device.streams_active += rows.gang - 1;
    }
    if (is_shed(i)) continue;
    if (rows.stream > 0) {
      if (result.status.ok()) device.stream_tokens += rows.count;
    } else if (rows.kind == RowKind::kDecode) {
      device.decode_tokens += rows.count;
    } else {
      device.prefill_tokens += rows.count;
    }
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
  stats_.streams = scheduler_->stream_stats();
  stats_.candidates = scheduler_->best_of_stats();
  stats_.transport = transport_->stats();
  stats_.avoided = outages_.avoided(now);
  PublishModels();
  PublishDecisions();
  std::lock_guard lock(stats_mutex_);
  published_ = stats_;
}

void EngineLoop::PublishModels() {
  for (DeviceStats& device : stats_.devices) {
    device.models.resize(slots_.size());
    for (size_t lent = 0; lent < slots_.size(); ++lent) {
      const StepTimeModel& model = scheduler_->step_time(device.id, lent);
      StepModelStats& stats = device.models[lent];
      if (stats.observed == model.observed() && stats.base > 0) continue;
      // The model is linear: each of its terms is what one unit more costs.
      const double base = model.Predict({});
      const auto term = [&](const StepShape& shape, double units) {
        return (model.Predict(shape) - base) / units;
      };
      stats = {.base = base,
               .chunk_token = term({.chunk_tokens = 1024}, 1024),
               .chunk_attended = term({.chunk_attended = 1 << 20}, 1 << 20),
               .decode_row = term({.decode_rows = 64}, 64),
               .decode_attended = term({.decode_attended = 1 << 20}, 1 << 20),
               .relative_error = model.relative_error(),
               .observed = model.observed()};
    }
  }
}

void EngineLoop::PublishDecisions() {
  const DecisionLog& log = scheduler_->decisions();
  if (log.last_sequence() == decisions_published_) return;
  const std::vector<Decision> fresh = log.Since(decisions_published_);
  decisions_published_ = log.last_sequence();
  for (const Decision& decision : fresh) {
    stats_.role_changes += decision.kind == DecisionKind::kRole;
  }
  std::lock_guard lock(stats_mutex_);
  decisions_.insert(decisions_.end(), fresh.begin(), fresh.end());
  while (decisions_.size() > kDecisionsKept) decisions_.pop_front();
}

DecisionPage EngineLoop::Decisions(uint64_t since, size_t limit) const {
  DecisionPage page;
  std::lock_guard lock(stats_mutex_);
  if (!decisions_.empty()) page.last = decisions_.back().sequence;
  const auto first =
      std::ranges::upper_bound(decisions_, since, {}, &Decision::sequence);
  const auto count =
      std::min(limit, static_cast<size_t>(decisions_.end() - first));
  page.decisions.assign(first, first + static_cast<std::ptrdiff_t>(count));
  return page;
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
