#include "simulator/replay/replay_recorder.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace braid {
namespace {

double Seconds(TimePoint time) { return ToSeconds(time.time_since_epoch()); }

}  // namespace

ReplayRecorder::ReplayRecorder(const ClusterSpec& cluster,
                               const Scheduler& scheduler, size_t requests)
    : cluster_(cluster),
      scheduler_(scheduler),
      tokens_(requests),
      with_streams_(cluster.workers.size()) {
  result_.requests.resize(requests);
  result_.workers.resize(cluster.workers.size());
  for (uint32_t i = 0; i < cluster.workers.size(); ++i) {
    blocks_ += scheduler.pool(PoolId(i)).capacity();
  }
}

void ReplayRecorder::Admitted(const Admission& admission, TimePoint now) {
  RequestOutcome& outcome = result_.requests[admission.request.value() - 1];
  outcome.prefill = admission.prefill.value();
  outcome.decode = admission.decode.value();
  outcome.reason = admission.reason;
  outcome.admitted = Seconds(now) - outcome.arrival;
  outcome.cached =
      static_cast<uint32_t>(admission.shared.size()) * cluster_.block_tokens;
  CountWaited(outcome);
}

// Steps with streams that were launched where its prompt runs since it came.
void ReplayRecorder::CountWaited(const RequestOutcome& outcome) {
  const std::vector<TimePoint>& steps = with_streams_[outcome.prefill];
  const TimePoint arrival(Duration(std::llround(outcome.arrival * 1e9)));
  const auto since = std::ranges::lower_bound(steps, arrival);
  const auto count = static_cast<size_t>(steps.end() - since);
  ++result_.streams.waited[std::min(count, StreamCounts::kMostWaited)];
}

void ReplayRecorder::Launched(const RecordedStep& step) {
  if (step.streams) {
    with_streams_[step.worker].push_back(step.started);
    ++result_.streams.steps;
  }
  ++result_.steps;
  result_.decode_rows += step.decode_rows;
  result_.chunk_tokens += step.chunk_tokens;
  AddBusy(step);
}

// Spreads the step over the bins that it touches.
void ReplayRecorder::AddBusy(const RecordedStep& step) {
  double WorkerBin::*const kind = step.decode_rows == 0   ? &WorkerBin::prefill
                                  : step.chunk_tokens > 0 ? &WorkerBin::mixed
                                                          : &WorkerBin::decode;
  std::vector<WorkerBin>& bins = result_.workers[step.worker];
  double from = Seconds(step.started);
  const double to = Seconds(step.ends);
  while (from < to) {
    const auto bin = static_cast<size_t>(from / result_.bin_seconds);
    if (bins.size() <= bin) bins.resize(bin + 1);
    const double end =
        std::min(to, static_cast<double>(bin + 1) * result_.bin_seconds);
    if (end <= from) break;
    bins[bin].*kind += end - from;
    from = end;
  }
}

bool ReplayRecorder::Drawn(size_t request, uint32_t streams, TimePoint now) {
  ++result_.streams.tokens[streams];
  ++bin_tokens_;
  bin_answered_ += streams;
  RequestOutcome& outcome = result_.requests[request];
  Tokens& tokens = tokens_[request];
  const double since = Seconds(now) - outcome.arrival;
  if (tokens.drawn == 0) {
    outcome.first_token = since;
  } else {
    const double gap = ToSeconds(now - tokens.last);
    result_.gaps.Add(gap);
    outcome.longest_gap = std::max(outcome.longest_gap, gap);
  }
  tokens.last = now;
  if (++tokens.drawn < outcome.output) return false;
  outcome.last_token = since;
  return true;
}

void ReplayRecorder::HandedOver(size_t request, TimePoint now) {
  RequestOutcome& outcome = result_.requests[request];
  outcome.handed_over = Seconds(now) - outcome.arrival - outcome.first_token;
}

void ReplayRecorder::Ended(size_t request, RequestEnd end) {
  RequestOutcome& outcome = result_.requests[request];
  outcome.end = end;
  result_.missed += !(MetTtft(outcome, cluster_.ttft_target) &&
                      MetTpot(outcome, cluster_.tpot_target));
  ++ended_;
}

void ReplayRecorder::SampleUpTo(TimePoint now) {
  while (Seconds(now) >=
         static_cast<double>(sampled_ + 1) * result_.bin_seconds) {
    result_.cluster.push_back(
        {.waiting = scheduler_.count(RequestState::kWaiting),
         .running = scheduler_.count(RequestState::kPrefilling) +
                    scheduler_.count(RequestState::kDecoding),
         .in_transfer = scheduler_.count(RequestState::kTransferring),
         .stream_kv = scheduler_.stream_stats().blocks / blocks_,
         .tokens = std::exchange(bin_tokens_, 0),
         .answered = std::exchange(bin_answered_, 0)});
    for (uint32_t i = 0; i < result_.workers.size(); ++i) {
      std::vector<WorkerBin>& bins = result_.workers[i];
      if (bins.size() <= sampled_) bins.resize(sampled_ + 1);
      const BlockPool& pool = scheduler_.pool(PoolId(i));
      const uint32_t held = pool.capacity() - pool.count(BlockState::kFree) -
                            pool.count(BlockState::kCached);
      bins[sampled_].kv_used = static_cast<double>(held) / pool.capacity();
    }
    ++sampled_;
  }
}

ReplayResult ReplayRecorder::Finish(TimePoint now, const SharedLinks& links,
                                    bool cut_short) {
  SampleUpTo(now);
  result_.cut_short = cut_short;
  result_.end = Seconds(now);
  for (uint32_t i = 0; i < result_.workers.size(); ++i) {
    result_.blocks_evicted +=
        scheduler_.index(PoolId(i)).stats().blocks_evicted;
  }
  result_.streams.stats = scheduler_.stream_stats();
  result_.nvlink_bytes = links.nvlink_bytes();
  result_.network_bytes = links.network_bytes();
  return std::move(result_);
}

}  // namespace braid
