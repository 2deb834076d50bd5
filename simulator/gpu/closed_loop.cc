#include "simulator/gpu/closed_loop.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>
#include <vector>

#include "base/check.h"
#include "base/rng.h"

namespace braid::gpu {
namespace {

// Prompts of one step are this many at most (an engine's limit on sequences
// starting together; it also bounds a step's work here).
constexpr size_t kMaxChunks = 256;

struct Request {
  double sent = 0, queued = 0;
  double first_token = 0, seen = 0;  // computed; in the client's hands
  uint32_t prompt = 0, answer = 0;
  uint32_t computed = 0;  // of the prompt
  bool waited = false;    // for memory
};

// Tokens of memory that an engine wants to see before it starts a request.
uint64_t Needs(const Request& r, const EngineHabits& habits) {
  return r.prompt +
         static_cast<uint64_t>(std::llround(r.answer * habits.reserved_answer));
}

// The lengths of one test after the other.
class Lengths {
 public:
  Lengths(const ClosedLoop& loop, uint64_t seed) : loop_(loop), rng_(seed) {}
  void Draw(Request& r) {
    r.prompt = Pick(loop_.prompt_tokens, loop_.shortest_prompt);
    r.answer = Pick(loop_.answer_tokens, loop_.shortest_answer);
  }

 private:
  uint32_t Pick(uint32_t longest, double shortest) {
    const double share = shortest + rng_.Uniform() * (1 - shortest);
    return std::max(1u, static_cast<uint32_t>(std::lround(longest * share)));
  }
  const ClosedLoop& loop_;
  Rng rng_;
};

class Results {
 public:
  void Add(const Request& r, double ended) {
    ++requests_;
    ttft_ += std::min(r.seen, ended) - r.sent;
    if (r.answer > 1) {
      ++answers_;
      tpot_ += (ended - r.first_token) / (r.answer - 1);
    }
    if (r.waited) ++waited_;
  }
  size_t size() const { return requests_; }
  LoopResult Finish() const {
    const auto mean = [](double sum, size_t of) {
      return of == 0 ? 0 : sum / static_cast<double>(of);
    };
    return {mean(ttft_, requests_), mean(tpot_, answers_),
            mean(static_cast<double>(waited_), requests_)};
  }

 private:
  size_t requests_ = 0, answers_ = 0, waited_ = 0;
  double ttft_ = 0, tpot_ = 0;
};

// What a request passes before it is queued: one takes them one after the
// other, then each goes its own way.
class FrontEnd {
 public:
  FrontEnd(const EngineHabits& habits, uint64_t seed)
      : habits_(habits), rng_(~seed) {}  // not what lengths are drawn from

  // Into `waiting`, which is in the order of Request::queued. Returns that.
  double Take(Request r, std::deque<Request>& waiting) {
    busy_until_ = std::max(busy_until_, r.sent) + habits_.request_spacing;
    const double share = 1 + habits_.request_jitter * (2 * rng_.Uniform() - 1);
    r.queued = busy_until_ + habits_.request_overhead * std::max(0.0, share);
    auto at = waiting.end();
    while (at != waiting.begin() && std::prev(at)->queued > r.queued) --at;
    waiting.insert(at, r);
    return r.queued;
  }

 private:
  const EngineHabits& habits_;
  Rng rng_;
  double busy_until_ = 0;
};

// The batch of a worker that decodes: rows that advance together, so a row is
// known by the step it ends with.
class DecodeBatch {
 public:
  uint32_t rows() const { return static_cast<uint32_t>(ends_.size()); }
  uint64_t attended() const { return attended_; }
  // Steps until the next row ends. REQUIRES: rows() > 0.
  uint64_t StepsLeft() const { return ends_.top().step - step_; }
  void Add(const Request& r) {
    ends_.push({step_ + r.answer - 1, r});
    attended_ += r.prompt + 1;
  }
  void Advance(uint64_t steps) {
    step_ += steps;
    attended_ += steps * ends_.size();
  }
  // Takes a row that has ended.
  bool TakeEnded(Request& out) {
    if (ends_.empty() || ends_.top().step > step_) return false;
    out = ends_.top().request;
    attended_ -= std::min<uint64_t>(attended_, out.prompt + out.answer);
    ends_.pop();
    return true;
  }

 private:
  struct End {
    uint64_t step;
    Request request;
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
        lengths_(loop, seed),
        wanted_(size_t{loop.clients} * loop.rounds),
        front_end_(habits, seed) {}

  LoopResult Run() {
    for (uint32_t i = 0; i < loop_.clients; ++i) Send(0);
    while (results_.size() < wanted_) Step();
    return results_.Finish();
  }

 private:
  void Send(double now) {
    if (sent_ == wanted_) return;
    ++sent_;
    Request r;
    lengths_.Draw(r);
    r.sent = now;
    front_end_.Take(r, waiting_);
  }

  // The prompts of the next step, first come first served.
  void PickChunks() {
    chunks_.clear();
    // Rows that ride along are part of the step's tokens.
    const auto tokens = static_cast<uint64_t>(habits_.prompt_budget) * groups();
    const uint64_t riding = habits_.mixes > 0.5 ? batch_.rows() : 0;
    uint64_t budget = tokens > riding ? tokens - riding : 1;
    for (Request& r : waiting_) {
      if (r.queued > now_ || budget == 0 || chunks_.size() == kMaxChunks) break;
      const uint32_t left = r.prompt - r.computed;
      if (habits_.whole_prompts > 0.5 && left > budget && !chunks_.empty()) {
        break;
      }
      if (r.computed == 0) {
        const uint64_t need = Needs(r, habits_);
        if (reserved_ > 0 && reserved_ + need > worker_.kv_capacity_tokens()) {
          r.waited = true;
          break;
        }
        reserved_ += need;
      }
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
    Request ended;
    while (batch_.TakeEnded(ended)) End(ended);
  }

  void PromptStep() {
    const bool mixes = habits_.mixes > 0.5 && batch_.rows() > 0;
    now_ += mixes ? worker_.Seconds(chunks_, batch_.rows(), batch_.attended())
                  : worker_.Seconds(chunks_, 0, 0);
    if (mixes) batch_.Advance(1);
    const size_t started = chunks_.size();
    for (size_t i = 0; i < started; ++i) {
      Request r = waiting_.front();
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

  void End(const Request& r) {
    reserved_ -= std::min(reserved_, Needs(r, habits_));
    results_.Add(r, now_);
    Send(now_);
  }

  const GpuStepTime& worker_;
  const EngineHabits& habits_;
  const ClosedLoop& loop_;
  Lengths lengths_;
  const size_t wanted_;
  Results results_;
  FrontEnd front_end_;
  double now_ = 0;
  size_t sent_ = 0;
  std::deque<Request> waiting_;  // in the order they are queued
  std::vector<PromptChunk> chunks_;
  DecodeBatch batch_;
  uint64_t reserved_ = 0;  // tokens of memory
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
        lengths_(loop, seed),
        wanted_(size_t{loop.clients} * loop.rounds),
        front_end_(habits, seed),
        prompts_(workers.prefills),
        answers_(workers.decodes) {}

  LoopResult Run() {
    for (uint32_t i = 0; i < loop_.clients; ++i) Send(0);
    while (results_.size() < wanted_) {
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
    return results_.Finish();
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
    std::vector<Request> batch;
  };
  struct AnswerWorker {
    DecodeBatch batch;
    std::deque<Request> joining;
    uint64_t reserved = 0;
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
    if (sent_ == wanted_) return;
    ++sent_;
    Request r;
    lengths_.Draw(r);
    r.sent = now;
    Post(front_end_.Take(r, waiting_), Event::kQueued, 0);
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
    for (Request& r : prompts_[i].batch) {
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
      Request& r = worker.joining.front();
      const uint64_t need = Needs(r, habits_);
      if (worker.reserved > 0 &&
          worker.reserved + need > workers_.decode.kv_capacity_tokens()) {
        r.waited = true;
        break;
      }
      worker.reserved += need;
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
    Request ended;
    while (worker.batch.TakeEnded(ended)) {
      worker.reserved -= std::min(worker.reserved, Needs(ended, habits_));
      --worker.bound;
      results_.Add(ended, now_);
      Send(now_);
    }
    StartSteps(j);
  }

  const DisaggregatedWorkers& workers_;
  const EngineHabits& habits_;
  const ClosedLoop& loop_;
  Lengths lengths_;
  const size_t wanted_;
  Results results_;
  FrontEnd front_end_;
  std::vector<PromptWorker> prompts_;
  std::vector<AnswerWorker> answers_;
  std::priority_queue<Event> events_;
  std::deque<Request> waiting_;  // in the order they are queued
  double now_ = 0;
  uint64_t posted_ = 0;
  size_t sent_ = 0;
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
