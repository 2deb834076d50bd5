#include "simulator/replay/replay_driver.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <queue>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "scheduler/scheduler.h"
#include "simulator/replay/replay_recorder.h"
#include "simulator/replay/shared_links.h"

namespace braid {
namespace {

// Turns between two calls of ReplayHooks::progress.
constexpr uint64_t kProgressEvery = 1 << 10;

TimePoint At(double seconds) {
  return TimePoint(Duration(std::llround(seconds * 1e9)));
}
// Not before `seconds`, whatever rounding does.
TimePoint AtOrAfter(double seconds) {
  return TimePoint(Duration(static_cast<int64_t>(seconds * 1e9) + 2));
}
double Seconds(TimePoint time) { return ToSeconds(time.time_since_epoch()); }

RequestId IdOf(size_t index) { return RequestId(index + 1); }
// On links, a stream that was computed elsewhere is a flow behind all requests.
constexpr uint64_t kFirstSend = uint64_t{1} << 32;
RequestId FlowOf(CatchUpId id) { return RequestId(kFirstSend + id.value()); }

SchedulerConfig ConfigOf(const ClusterSpec& cluster, const WorkerTimes& times,
                         const PlacementPolicy& policy) {
  SchedulerConfig config;
  for (uint32_t i = 0; i < cluster.workers.size(); ++i) {
    config.devices.push_back({.id = DeviceId(i),
                              .role = cluster.workers[i].role,
                              .pool = PoolId(i),
                              .max_rows = cluster.max_rows,
                              .prior = times.prior,
                              // As a daemon that has measured at its start.
                              .prior_measured = true});
    config.pool_blocks.push_back(
        static_cast<uint32_t>(times.kv_tokens / cluster.block_tokens));
  }
  config.block_tokens = cluster.block_tokens;
  config.split = cluster.split;
  config.max_context = cluster.max_context;
  config.prefill_chunk = cluster.prefill_chunk;
  config.max_running =
      cluster.max_running * static_cast<uint32_t>(cluster.workers.size());
  config.lend_cores = false;  // a GPU has none to lend
  const auto duration = [](double seconds) {
    return Duration(std::llround(seconds * 1e9));
  };
  config.classes = {{.name = "replay",
                     .ttft = duration(cluster.ttft_target),
                     .tpot = duration(cluster.tpot_target),
                     .max_queued = cluster.max_queued}};
  config.max_queued = cluster.max_queued;
  config.placement = policy;
  if (cluster.streams.mode != StreamMode::kOff) {
    config.stream_sets = {{.streams = cluster.streams.most(),
                           .elastic = true,
                           .gain = cluster.streams.gain,
                           .fingerprint = 1}};
  }
  return config;
}

class Driver {
 public:
  Driver(const Trace& trace, const ClusterSpec& cluster,
         const WorkerTimes& times, SchedulerConfig config,
         const ReplayHooks& hooks)
      : trace_(trace),
        cluster_(cluster),
        times_(times),
        hooks_(hooks),
        scheduler_(std::move(config)),
        links_(cluster),
        recorder_(cluster, scheduler_, trace.requests.size()),
        workers_(cluster.workers.size()),
        posted_(trace.requests.size()) {
    for (uint32_t i = 0; i < workers_.size(); ++i) planning_order_.push_back(i);
    // As the engine: first those that only decode.
    std::ranges::stable_partition(planning_order_, [&](uint32_t i) {
      return cluster.workers[i].role == DeviceRole::kDecode;
    });
  }

  absl::StatusOr<ReplayResult> Run() {
    uint64_t turns = 0;
    bool cut_short = false;
    for (;;) {
      const TimePoint next = NextEvent();
      if (next == kNever) break;
      Turn(next);
      if (hooks_.decision) TellDecisions();
      if (++turns % kProgressEvery == 0 && hooks_.progress &&
          !hooks_.progress(Progress())) {
        cut_short = true;
        break;
      }
    }
    if (!cut_short && recorder_.ended() != trace_.requests.size()) {
      return absl::InternalError(absl::StrCat(
          trace_.requests.size() - recorder_.ended(), " requests wait at ",
          Seconds(now_), " s (", scheduler_.count(RequestState::kWaiting),
          " in the queue, ", scheduler_.count(RequestState::kPrefilling),
          " in prefill, ", scheduler_.count(RequestState::kTransferring),
          " on the way, ", scheduler_.count(RequestState::kDecoding),
          " in decode) and nothing is under way"));
    }
    return recorder_.Finish(now_, links_, cut_short);
  }

 private:
  struct Worker {
    StepPlan plan;  // in flight, or the storage of the next one
    bool running = false;
    TimePoint started, ends;
  };
  // Something that happens at a time of its own.
  struct Timed {
    TimePoint time;
    uint32_t worker = 0;
    // Of a step's last chunk: the part that leaves before the step's end.
    size_t request = 0;
    double bytes = 0;  // 0: the worker's step ends
    bool operator>(const Timed& other) const {
      return std::tie(time, worker, bytes) >
             std::tie(other.time, other.worker, other.bytes);
    }
  };

  void TellDecisions() {
    for (const Decision& decision : scheduler_.decisions().Since(told_)) {
      hooks_.decision(braid::ToString(decision));
    }
    told_ = scheduler_.decisions().last_sequence();
  }

  TimePoint NextEvent() const {
    TimePoint next = kNever;
    if (arrived_ < trace_.requests.size()) {
      next = At(trace_.requests[arrived_].arrival);
    }
    if (!timed_.empty()) next = std::min(next, timed_.top().time);
    if (links_.NextEnd() < 1e9) {
      next = std::min(next, std::max(now_, AtOrAfter(links_.NextEnd())));
    }
    return next;
  }

  void Turn(TimePoint now) {
    recorder_.SampleUpTo(now);
    now_ = now;
    while (!timed_.empty() && timed_.top().time <= now) {
      const Timed timed = timed_.top();
      timed_.pop();
      if (timed.bytes > 0) {
        PostEarly(timed);
      } else {
        EndStep(timed.worker);
      }
    }
    landed_.clear();
    links_.TakeEnded(Seconds(now), landed_);
    for (RequestId id : landed_) {
      if (id.value() < kFirstSend) {
        Land(id);
      } else {
        LandStream(CatchUpId(id.value() - kFirstSend));
      }
    }
    while (arrived_ < trace_.requests.size() &&
           At(trace_.requests[arrived_].arrival) <= now) {
      Arrive(arrived_++);
    }
    refused_.clear();
    scheduler_.TakeRefused(now, refused_);
    for (const Refusal& refusal : refused_) {
      scheduler_.Finish(refusal.request);
      recorder_.Ended(refusal.request.value() - 1, RequestEnd::kShed);
    }
    SendStreams();
    for (uint32_t worker : planning_order_) {
      if (!workers_[worker].running) Launch(worker);
    }
  }

  void SendStreams() {
    sends_.clear();
    scheduler_.TakeAbandonedSends(sends_);
    for (CatchUpId id : sends_) links_.Cancel(FlowOf(id), Seconds(now_));
    sends_.clear();
    scheduler_.TakeSends(now_, sends_);
    for (CatchUpId id : sends_) {
      const StreamCatchUp& one = *scheduler_.FindCatchUp(id);
      const double tokens = one.sending * cluster_.block_tokens;
      links_.Post(FlowOf(id), one.blocks.pool()->id().value(),
                  one.landing.pool()->id().value(),
                  tokens * static_cast<double>(times_.kv_bytes_per_token),
                  /*last=*/true, Seconds(now_));
    }
  }

  void LandStream(CatchUpId id) {
    if (scheduler_.FindCatchUp(id) == nullptr) return;
    scheduler_.CompleteSend(id, now_);
  }

  void Arrive(size_t index) {
    const TraceRequest& request = trace_.requests[index];
    RequestOutcome& outcome = recorder_.request(index);
    // An answer has a token at least: a TTFT needs one.
    outcome.output = std::max(1u, request.output_tokens);
    outcome.prompt = request.prompt_tokens;
    outcome.arrival = request.arrival;
    if (!scheduler_.CheckSize(outcome.prompt, outcome.output).ok()) {
      recorder_.Ended(index, RequestEnd::kTooLong);
      return;
    }
    RequestInput input{
        .id = IdOf(index),
        .max_output = outcome.output,
        .arrival = now_,
        .streams = {.mode = cluster_.streams.mode,
                    .max = cluster_.streams.mode == StreamMode::kOff
                               ? 1
                               : cluster_.streams.most()}};
    // The scheduler keeps the vector for prompt and answer.
    input.prompt.reserve(size_t{outcome.prompt} + outcome.output);
    FillPrompt(trace_, request, input.prompt);
    if (scheduler_.Offer(std::move(input), now_)) {
      recorder_.Ended(index, RequestEnd::kRefused);
    }
  }

  void Launch(uint32_t index) {
    Worker& worker = workers_[index];
    const DeviceId device(index);
    if (!scheduler_.available(device)) return;
    // A plan may be preemptions alone: applied, it makes room for another.
    for (;;) {
      worker.plan = scheduler_.Plan(device, now_, std::move(worker.plan));
      if (worker.plan.empty()) return;
      for (const Preemption& preemption : worker.plan.preempted) {
        recorder_.Preempted();
        StopTransfer(preemption.request.value() - 1);
      }
      scheduler_.Apply(worker.plan, now_);
      if (!worker.plan.rows.empty()) break;
    }
    for (const Admission& admission : worker.plan.admissions) {
      recorder_.Admitted(admission, now_);
      const size_t request = admission.request.value() - 1;
      if (SentOverLinks(request)) PostCached(request, admission);
    }
    Start(index);
  }

  bool SentOverLinks(size_t request) {
    const RequestOutcome& outcome = recorder_.request(request);
    return outcome.prefill != outcome.decode;
  }

  void Start(uint32_t index) {
    Worker& worker = workers_[index];
    chunks_.clear();
    uint32_t decode_rows = 0, stream_rows = 0;
    uint64_t attended = 0, chunk_tokens = 0;
    bool prompts = false, streams = false;
    for (const PlannedRows& rows : worker.plan.rows) {
      // A stream's prefix stands before its tokens.
      const uint32_t before =
          rows.first + (rows.stream > 0 ? cluster_.streams.prefix_tokens : 0);
      streams |= rows.stream > 0;
      if (rows.kind == RowKind::kDecode) {
        ++decode_rows;
        attended += before + 1;
      } else if (rows.kind == RowKind::kStream && rows.count == 1) {
        ++stream_rows;
        attended += before + 1;
      } else {
        // Catching up is an append like that of a prompt.
        chunks_.push_back({before, rows.count});
        if (rows.stream > 0) continue;
        prompts = true;
        chunk_tokens += rows.count;
      }
    }
    const double seconds =
        times_.seconds(chunks_, decode_rows, attended, stream_rows);
    BRAID_CHECK(seconds > 0);
    worker.running = true;
    worker.started = now_;
    worker.ends =
        now_ + Duration(std::max<int64_t>(1, std::llround(seconds * 1e9)));
    timed_.push({.time = worker.ends, .worker = index});
    if (prompts) PostLayersOf(index);
    recorder_.Launched({.worker = index,
                        .started = worker.started,
                        .ends = worker.ends,
                        .decode_rows = decode_rows,
                        .chunk_tokens = chunk_tokens,
                        .streams = streams});
  }

  // A cached prefix leaves at once; what the decode worker has of it stays.
  void PostCached(size_t request, const Admission& admission) {
    const size_t known = admission.landing_shared.size();
    const size_t cached = admission.shared.size();
    if (cached > known) {
      Post(request, (cached - known) * cluster_.block_tokens, false);
    }
  }

  // Of a prompt's last chunk, all groups of layers but the last leave while the
  // step still runs: from the end of the first group on, and no faster than the
  // link carries them. The last group follows when the step ends.
  void PostLayersOf(uint32_t index) {
    const Worker& worker = workers_[index];
    const double groups = cluster_.transfer_groups;
    if (groups < 2) return;
    for (const PlannedRows& rows : worker.plan.rows) {
      if (rows.kind != RowKind::kChunk || !rows.draws) continue;
      const size_t request = rows.request.value() - 1;
      if (!SentOverLinks(request)) continue;
      const double bytes = Missing(request, rows) * (groups - 1) / groups;
      if (bytes <= 0) continue;
      timed_.push(
          {.time = worker.started +
                   Duration(static_cast<int64_t>(
                       (worker.ends - worker.started).count() / groups)),
           .worker = index,
           .request = request,
           .bytes = bytes});
    }
  }

  // Bytes of these rows that the decode worker does not have.
  double Missing(size_t request, const PlannedRows& rows) const {
    const Request* known = scheduler_.Find(IdOf(request));
    if (known == nullptr) return 0;
    const uint32_t there = known->landing_cached * cluster_.block_tokens;
    const uint32_t end = rows.first + rows.count;
    const uint32_t begin = std::max(rows.first, there);
    return end <= begin ? 0.0
                        : static_cast<double>(end - begin) *
                              static_cast<double>(times_.kv_bytes_per_token);
  }

  void PostEarly(const Timed& timed) {
    // It may have been cancelled meanwhile.
    if (scheduler_.Find(IdOf(timed.request)) == nullptr) return;
    PostBytes(timed.request, timed.bytes, false);
  }
  void Post(size_t request, double tokens, bool last) {
    PostBytes(request, tokens * static_cast<double>(times_.kv_bytes_per_token),
              last);
  }
  void PostBytes(size_t request, double bytes, bool last) {
    const RequestOutcome& outcome = recorder_.request(request);
    links_.Post(IdOf(request), outcome.prefill, outcome.decode, bytes, last,
                Seconds(now_));
    posted_[request] = true;
  }
  void StopTransfer(size_t request) {
    if (!posted_[request]) return;
    links_.Cancel(IdOf(request), Seconds(now_));
    posted_[request] = false;
  }

  void EndStep(uint32_t index) {
    Worker& worker = workers_[index];
    worker.running = false;
    drawn_.clear();
    for (const PlannedRows& rows : worker.plan.rows) {
      drawn_.push_back(rows.draws ? std::optional(AnswerToken(rows))
                                  : std::nullopt);
      // Before Commit publishes and moves on, as the engine posts.
      if (rows.kind == RowKind::kChunk) PostChunk(rows);
    }
    scheduler_.Commit(worker.plan, drawn_,
                      ToSeconds(worker.ends - worker.started), now_);
    for (const PlannedRows& rows : worker.plan.rows) {
      if (!rows.draws) continue;
      const size_t request = rows.request.value() - 1;
      if (!recorder_.Drawn(request, rows.gang, now_)) continue;
      StopTransfer(request);
      scheduler_.Finish(rows.request);
      recorder_.Ended(request, RequestEnd::kServed);
    }
  }

  // Unlike any token of a prompt, and of another answer.
  TokenId AnswerToken(const PlannedRows& rows) const {
    const uint64_t position = rows.first + rows.count;
    const uint64_t mixed =
        (rows.request.value() * 0x9e3779b97f4a7c15u + position) >> 16;
    return -1 - static_cast<TokenId>(mixed & 0x3fffffff);
  }

  void PostChunk(const PlannedRows& rows) {
    const size_t request = rows.request.value() - 1;
    if (!SentOverLinks(request)) return;
    const Request* known = scheduler_.Find(rows.request);
    if (known == nullptr || !known->handed_over()) return;
    double bytes = Missing(request, rows);
    // A single token is prefill's own: nobody decodes it further.
    const bool last = rows.draws;
    if (last) bytes /= cluster_.transfer_groups;
    if (bytes > 0 || last) PostBytes(request, bytes, last);
  }

  void Land(RequestId id) {
    const size_t request = id.value() - 1;
    posted_[request] = false;
    const Request* known = scheduler_.Find(id);
    if (known == nullptr || known->state != RequestState::kTransferring) return;
    recorder_.HandedOver(request, now_);
    scheduler_.CompleteTransfer(id, now_);
  }

  ReplayProgress Progress() const {
    return {.simulated = Seconds(now_),
            .arrived = arrived_,
            .ended = recorder_.ended(),
            .of = trace_.requests.size(),
            .missed = recorder_.missed()};
  }

  const Trace& trace_;
  const ClusterSpec& cluster_;
  const WorkerTimes& times_;
  const ReplayHooks& hooks_;
  Scheduler scheduler_;
  SharedLinks links_;
  ReplayRecorder recorder_;
  std::vector<Worker> workers_;
  std::vector<bool> posted_;  // by request: KV of its prompt is on a link
  std::vector<uint32_t> planning_order_;
  std::priority_queue<Timed, std::vector<Timed>, std::greater<>> timed_;
  TimePoint now_;
  size_t arrived_ = 0;
  uint64_t told_ = 0;  // last decision that the hook has seen
  // Reused from turn to turn.
  std::vector<ChunkRows> chunks_;
  std::vector<std::optional<TokenId>> drawn_;
  std::vector<RequestId> landed_;
  std::vector<CatchUpId> sends_;
  std::vector<Refusal> refused_;
};

}  // namespace

absl::StatusOr<ReplayResult> Replay(const Trace& trace,
                                    const ClusterSpec& cluster,
                                    const WorkerTimes& times,
                                    const PlacementPolicy& policy,
                                    const ReplayHooks& hooks) {
  SchedulerConfig config = ConfigOf(cluster, times, policy);
  BRAID_RETURN_IF_ERROR(Scheduler::Validate(config));
  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<ReplayResult> result =
      Driver(trace, cluster, times, std::move(config), hooks).Run();
  if (result.ok()) {
    result->wall_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
            .count();
  }
  return result;
}

}  // namespace braid
