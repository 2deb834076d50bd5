#include "simulator/gpu/closed_loop.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>
#include <vector>

#include "base/check.h"
#include "simulator/gpu/closed_loop_clients.h"

namespace braid::gpu {
namespace {

// Prompts of one step are this many at most (an engine's limit on sequences
// starting together; it also bounds a step's work here).
constexpr size_t kMaxChunks = 256;

// The batch of a worker that decodes: rows that advance together, so a row is
// known by the step it ends with.
class DecodeBatch {
 public:
  uint32_t rows() const { return static_cast<uint32_t>(ends_.size()); }
  uint64_t attended() const { return attended_; }
  // Steps until the next row ends. REQUIRES: rows() > 0.
  uint64_t StepsLeft() const { return ends_.top().step - step_; }
  void Add(const LoopRequest& r) {
    ends_.push({step_ + r.answer - 1, r});
    attended_ += r.prompt + 1;
  }
  void Advance(uint64_t steps) {
    step_ += steps;
    attended_ += steps * ends_.size();
  }
  // Takes a row that has ended.
  bool TakeEnded(LoopRequest& out) {
    if (ends_.empty() || ends_.top().step > step_) return false;
    out = ends_.top().request;
    attended_ -= std::min<uint64_t>(attended_, out.prompt + out.answer);
    ends_.pop();
    return true;
  }

 private:
  struct End {
    uint64_t step;
    LoopRequest request;
    bool operator<(const End& other) const { return step > other.step; }
  };
  std::priority_queue<End> ends_;
  uint64_t step_ = 0, attended_ = 0;
};

// `steps` decode steps of the batch, in the middle of which its contexts are
// what they are on average.
double DecodeSeconds(const GpuStepTime& worker, const DecodeBatch& batch,
                     uint64_t steps) {
  return static_cast<double>(steps) *
         worker.Seconds({}, batch.rows(),
                        batch.attended() + batch.rows() * (steps - 1) / 2);
}

class AggregatedWorker {
 public:
  AggregatedWorker(const GpuStepTime& worker, const EngineHabits& habits,
                   const ClosedLoop& loop, uint64_t seed)
      : worker_(worker),
        habits_(habits),
        loop_(loop),
        clients_(loop, habits, seed),
        kv_(worker.kv_capacity_tokens(), habits) {}

  LoopResult Run() {
    for (uint32_t i = 0; i < loop_.clients; ++i) clients_.Send(0);
    while (!clients_.done()) Step();
    return clients_.Result();
  }

 private:
  // The prompts of the next step, first come first served.
  void PickChunks() {
    chunks_.clear();
    // Rows that ride along are part of the step's tokens.
    const auto tokens = static_cast<uint64_t>(habits_.prompt_budget) * groups();
    const uint64_t riding = habits_.mixes > 0.5 ? batch_.rows() : 0;
    uint64_t budget = tokens > riding ? tokens - riding : 1;
    for (LoopRequest& r : waiting_) {
      if (r.queued > now_ || budget == 0 || chunks_.size() == kMaxChunks) break;
      const uint32_t left = r.prompt - r.computed;
      if (habits_.whole_prompts > 0.5 && left > budget && !chunks_.empty()) {
        break;
      }
      if (r.computed == 0 && !kv_.Take(r)) break;
      const auto count =
          static_cast<uint32_t>(std::min<uint64_t>(budget, left));
      chunks_.push_back({r.computed, count});
      r.computed += count;
      budget -= count;
    }
  }

  uint32_t groups() const { return worker_.attention_groups(); }

  void Step() {
    PickChunks();
    if (!chunks_.empty()) {
      PromptStep();
    } else if (batch_.rows() > 0) {
      DecodeSteps();
    } else {
      BRAID_CHECK(!waiting_.empty());
      now_ = std::max(now_, waiting_.front().queued);
    }
    LoopRequest ended;
    while (batch_.TakeEnded(ended)) End(ended);
  }

  void PromptStep() {
    const bool mixes = habits_.mixes > 0.5 && batch_.rows() > 0;
    now_ += mixes ? worker_.Seconds(chunks_, batch_.rows(), batch_.attended())
                  : worker_.Seconds(chunks_, 0, 0);
    if (mixes) batch_.Advance(1);
    const size_t started = chunks_.size();
    for (size_t i = 0; i < started; ++i) {
      LoopRequest r = waiting_.front();
      if (r.computed < r.prompt) break;  // only the last can be unfinished
      waiting_.pop_front();
      r.first_token = now_;
      r.seen = now_ + loop_.first_token_steps *
                          worker_.Seconds({}, batch_.rows() + 1,
                                          batch_.attended() + r.prompt);
      batch_.Add(r);
    }
  }

  void DecodeSteps() {
    uint64_t steps = std::max<uint64_t>(1, batch_.StepsLeft());
    if (!waiting_.empty() && waiting_.front().queued > now_) {
      // Up to the step in which the next request arrives.
      const double one = DecodeSeconds(worker_, batch_, 1);
      const double until = (waiting_.front().queued - now_) / one;
      if (until < static_cast<double>(steps)) {
        steps = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(until)));
      }
    } else if (!waiting_.empty() && !waiting_.front().waited) {
      steps = 1;
    }
    now_ += DecodeSeconds(worker_, batch_, steps);
    batch_.Advance(steps);
  }

  void End(const LoopRequest& r) {
    kv_.Give(r);
    clients_.Ended(r, now_);
    clients_.Send(now_);
  }

  const GpuStepTime& worker_;
  const EngineHabits& habits_;
  const ClosedLoop& loop_;
  ClosedLoopClients clients_;
  std::deque<LoopRequest>& waiting_ = clients_.waiting();
  KvReservation kv_;
  double now_ = 0;
  std::vector<PromptChunk> chunks_;
  DecodeBatch batch_;
};

// Prompts and answers on workers of their own, joined by events in time.
class DisaggregatedPair {
 public:
  DisaggregatedPair(const DisaggregatedWorkers& workers,
                    const EngineHabits& habits, const ClosedLoop& loop,
                    uint64_t seed)
      : workers_(workers),
        habits_(habits),
        loop_(loop),
        clients_(loop, habits, seed),
        prompts_(workers.prefills),
        answers_(
            workers.decodes,
            AnswerWorker{.kv = KvReservation(
                             workers.decode.kv_capacity_tokens(), habits)}) {}

  LoopResult Run() {
    for (uint32_t i = 0; i < loop_.clients; ++i) Send(0);
    while (!clients_.done()) {
      BRAID_CHECK(!events_.empty());
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      switch (event.kind) {
        case Event::kQueued:
          StartPrompts();
          break;
        case Event::kPromptsDone:
          PromptsDone(event.worker);
          break;
        case Event::kJoin:
          Join(event.worker);
          break;
        case Event::kStepsDone:
          if (event.version == answers_[event.worker].version) {
            StepsDone(event.worker);
          }
          break;
      }
    }
    return clients_.Result();
  }

 private:
  struct Event {
    enum Kind : uint8_t { kQueued, kPromptsDone, kJoin, kStepsDone };
    double time;
    uint64_t order;  // of posting: ties are settled the same way every time
    Kind kind;
    uint32_t worker, version;
    bool operator<(const Event& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  struct PromptWorker {
    bool busy = false;
    std::vector<LoopRequest> batch;
  };
  struct AnswerWorker {
    DecodeBatch batch;
    std::deque<LoopRequest> joining;
    KvReservation kv;
    double started = 0, step_seconds = 0;  // of the run of steps under way
    uint64_t steps = 0;                    // 0: idle
    uint32_t version = 0;                  // of its kStepsDone
    uint32_t bound = 0;                    // requests that are or will be here
  };

  void Post(double time, Event::Kind kind, uint32_t worker,
            uint32_t version = 0) {
    events_.push({time, posted_++, kind, worker, version});
  }

  void Send(double now) {
    const std::optional<double> queued = clients_.Send(now);
    if (queued) Post(*queued, Event::kQueued, 0);
  }

  void StartPrompts() {
    for (uint32_t i = 0; i < prompts_.size(); ++i) {
      PromptWorker& worker = prompts_[i];
      if (worker.busy) continue;
      const auto budget = static_cast<uint64_t>(
          habits_.prompt_budget * workers_.prefill.attention_groups());
      uint64_t tokens = 0;
      std::vector<PromptChunk> chunks;
      while (!waiting_.empty() && waiting_.front().queued <= now_ &&
             chunks.size() < kMaxChunks &&
             (chunks.empty() || tokens + waiting_.front().prompt <= budget)) {
        chunks.push_back({0, waiting_.front().prompt});
        tokens += waiting_.front().prompt;
        worker.batch.push_back(waiting_.front());
        waiting_.pop_front();
      }
      if (chunks.empty()) return;
      worker.busy = true;
      Post(now_ + workers_.prefill.Seconds(chunks, 0, 0), Event::kPromptsDone,
           i);
    }
  }

  void PromptsDone(uint32_t i) {
    for (LoopRequest& r : prompts_[i].batch) {
      // To the worker with the fewest.
      uint32_t least = 0;
      for (uint32_t j = 1; j < answers_.size(); ++j) {
        if (answers_[j].bound < answers_[least].bound) least = j;
      }
      AnswerWorker& to = answers_[least];
      ++to.bound;
      r.first_token = now_;
      const double step = workers_.decode.Seconds(
          {}, to.batch.rows() + 1, to.batch.attended() + r.prompt);
      r.seen = now_ + loop_.first_token_steps * step;
      to.joining.push_back(r);
      Post(now_ + workers_.transfer, Event::kJoin, least);
    }
    prompts_[i].batch.clear();
    prompts_[i].busy = false;
    StartPrompts();
  }

  // A request is there: the run under way ends with the step it is in.
  void Join(uint32_t j) {
    AnswerWorker& worker = answers_[j];
    if (worker.steps == 0) {
      StartSteps(j);
      return;
    }
    const double done =
        std::ceil((now_ - worker.started) / worker.step_seconds);
    const auto steps =
        std::clamp<uint64_t>(static_cast<uint64_t>(done), 1, worker.steps);
    if (steps < worker.steps) {
      worker.steps = steps;
      Post(worker.started + static_cast<double>(steps) * worker.step_seconds,
           Event::kStepsDone, j, ++worker.version);
    }
  }

  void StartSteps(uint32_t j) {
    AnswerWorker& worker = answers_[j];
    while (!worker.joining.empty() &&
           worker.joining.front().first_token + workers_.transfer <=
               now_ + 1e-12) {
      LoopRequest& r = worker.joining.front();
      if (!worker.kv.Take(r)) break;
      worker.batch.Add(r);
      worker.joining.pop_front();
    }
    worker.steps = 0;
    if (worker.batch.rows() == 0) return;
    worker.steps = std::max<uint64_t>(1, worker.batch.StepsLeft());
    worker.started = now_;
    worker.step_seconds =
        DecodeSeconds(workers_.decode, worker.batch, worker.steps) /
        static_cast<double>(worker.steps);
    Post(now_ + static_cast<double>(worker.steps) * worker.step_seconds,
         Event::kStepsDone, j, ++worker.version);
  }

  void StepsDone(uint32_t j) {
    AnswerWorker& worker = answers_[j];
    worker.batch.Advance(worker.steps);
    LoopRequest ended;
    while (worker.batch.TakeEnded(ended)) {
      worker.kv.Give(ended);
      --worker.bound;
      clients_.Ended(ended, now_);
      Send(now_);
    }
    StartSteps(j);
  }

  const DisaggregatedWorkers& workers_;
  const EngineHabits& habits_;
  const ClosedLoop& loop_;
  ClosedLoopClients clients_;
  std::deque<LoopRequest>& waiting_ = clients_.waiting();
  std::vector<PromptWorker> prompts_;
  std::vector<AnswerWorker> answers_;
  std::priority_queue<Event> events_;
  double now_ = 0;
  uint64_t posted_ = 0;
};

// The mean over as many tests as few clients need for theirs to be one.
template <typename RunOnce>
LoopResult MeanOfTests(const ClosedLoop& loop, const RunOnce& run_once) {
  BRAID_CHECK(loop.clients > 0 && loop.rounds > 0);
  constexpr uint32_t kEnoughClients = 64;
  const uint64_t tests =
      std::max(1u, (kEnoughClients + loop.clients - 1) / loop.clients);
  LoopResult mean;
  for (uint64_t seed = 0; seed < tests; ++seed) {
    const LoopResult one = run_once(seed);
    mean.ttft += one.ttft / static_cast<double>(tests);
    mean.tpot += one.tpot / static_cast<double>(tests);
    mean.waited_for_memory +=
        one.waited_for_memory / static_cast<double>(tests);
  }
  return mean;
}

}  // namespace

LoopResult RunAggregated(const GpuStepTime& worker, const EngineHabits& habits,
                         const ClosedLoop& loop) {
  return MeanOfTests(loop, [&](uint64_t seed) {
    return AggregatedWorker(worker, habits, loop, seed).Run();
  });
}

LoopResult RunDisaggregated(const DisaggregatedWorkers& workers,
                            const EngineHabits& habits,
                            const ClosedLoop& loop) {
  BRAID_CHECK(workers.prefills > 0 && workers.decodes > 0);
  return MeanOfTests(loop, [&](uint64_t seed) {
    return DisaggregatedPair(workers, habits, loop, seed).Run();
  });
}

}  // namespace braid::gpu
