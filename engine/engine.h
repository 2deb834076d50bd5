// The one loop of a node: owns requests, pools, prefix indexes and transfers,
// launches steps on devices and hands KV over between them.
//
// Threads: the constructor starts the engine thread; all scheduling state is
// that thread's alone and needs no lock. Submit, Cancel, Drain, Snapshot and
// Decisions may be called by any thread: they only push to the bounded inbox,
// or read a published copy.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ids.h"
#include "engine/engine_stats.h"
#include "engine/token_sink.h"
#include "kvcache/kv_arena.h"
#include "kvcache/transport/kv_transport.h"
#include "model/model_runner.h"
#include "model/sampling.h"
#include "model/tokenizer.h"
#include "scheduler/decision_log.h"
#include "scheduler/service_class.h"
#include "scheduler/split.h"
#include "scheduler/step_time_model.h"
#include "scheduler/stream_terms.h"

namespace braid {

struct GenerateRequest {
  std::vector<TokenId> prompt;  // not empty
  SamplingParams sampling;
  uint32_t max_tokens = 16;  // 0 only with prompt_logprobs (scoring)
  // Looked for in the text from token number sampling.min_tokens on. The one
  // that is complete first ends the request.
  std::vector<std::string> stop;
  bool include_stop_in_text = false;
  bool show_special = false;
  // >= 0: score the prompt with that many alternatives per token.
  int32_t prompt_logprobs = -1;
  TimePoint deadline = kNever;  // of the whole request
  int32_t priority = 0;         // higher is served first, within its class
  uint32_t service_class = 0;   // index into EngineConfig::classes
  uint64_t tenant = 0;          // among whom a class is shared fairly
  // Requests of different salts never share a cached prefix.
  uint64_t cache_salt = 0;
  StreamTerms streams;  // PARSCALE
  // Best-of-n (best_of.h): that many answers are drawn in idle rows, and the
  // best is told at the end. 1 to kMostCandidates; more than 1 only with a
  // temperature at which answers differ, and without streams.
  uint32_t best_of = 1;
};

inline constexpr uint32_t kMostCandidates = 8;

struct EngineDevice {
  DeviceId id;
  std::string name;  // "cpu:0"
  DeviceRole role = DeviceRole::kBoth;
  std::unique_ptr<ModelRunner> runner;
  // Devices with the same arena reach each other's blocks at no cost. Index
  // into EngineConfig::arenas.
  uint32_t arena = 0;
  // Steps that it has run before there were requests: step_probe.h.
  std::vector<MeasuredStep> measured;
};

struct EngineConfig {
  std::vector<EngineDevice> devices;
  std::vector<std::unique_ptr<KvArena>> arenas;  // pool i has PoolId(i)
  // The transport calls `wake` when its Poll has something new. Needed also
  // where there is one device: then it is never asked to move anything.
  std::function<std::unique_ptr<KvTransport>(std::function<void()> wake)>
      make_transport;
  const Tokenizer* tokenizer = nullptr;  // outlives the engine
  const Clock* clock = nullptr;          // outlives the engine
  SplitMode split = SplitMode::kAuto;
  uint32_t max_context = 0;      // tokens of prompt and output
  uint32_t prefill_chunk = 256;  // most prompt tokens in a step
  uint32_t max_running = 256;    // requests in prefill or decode
  // Best first; the last is shed first. They bound the queue. Empty: one,
  // "default", with targets that nobody misses.
  std::vector<ServiceClass> classes;
  // With SplitMode::kAuto: devices keep to their roles.
  bool static_roles = false;
  uint32_t max_inbox = 1024;  // submitted, not yet seen by the loop
  // Layer group of a streamed hand-over; 0: blocks leave as a whole.
  uint32_t progress_layers = 8;
  bool lend_cores = true;
  bool prefix_cache = true;
  uint64_t model_fingerprint = 0;
  std::vector<StreamSet> stream_sets;  // PARSCALE weights of the runners
};

// Some of the scheduler's decisions, oldest first.
struct DecisionPage {
  uint64_t last = 0;  // sequence of the newest there is
  std::vector<Decision> decisions;
};

class EngineLoop;

class Engine final {
 public:
  // INVALID_ARGUMENT when the configuration contradicts itself.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(EngineConfig config);
  ~Engine();  // Stop

  // Accepts or refuses at once. INVALID_ARGUMENT: can never run (empty or
  // over-long prompt, unknown class); RESOURCE_EXHAUSTED: the inbox is full;
  // UNAVAILABLE: draining. After an error the sink is never called. What the
  // scheduler refuses, because of its class's queue or its targets, ends with
  // kRefused (or kDeadline) within one turn. The sink is shared with the
  // caller's connection, and whichever ends last destroys it.
  absl::StatusOr<RequestId> Submit(GenerateRequest request,
                                   std::shared_ptr<TokenSink> sink);

  // The request ends with kCancelled within one turn of the loop, unless it has
  // ended already. Unknown ids are ignored.
  void Cancel(RequestId id);

  // Refuses new requests from now on; returns when the last one has ended, or
  // at `timeout` (then false).
  bool Drain(Duration timeout);

  // Refuses new requests, ends what still runs with kFailed (UNAVAILABLE),
  // waits for the steps in flight and joins the thread: every sink has been
  // finished when it returns. Idempotent, but not thread-safe; the other
  // methods may still be called after it.
  void Stop();

  // As configured, best first. Immutable.
  const std::vector<ServiceClass>& classes() const;

  // Counters and gauges, at most a few turns of the loop old; exact when
  // nothing runs.
  EngineStats Snapshot() const;

  // The first `limit` decisions after `since` that are still kept, as old as
  // Snapshot's numbers are.
  DecisionPage Decisions(uint64_t since, size_t limit) const;

 private:
  explicit Engine(std::unique_ptr<EngineLoop> loop, const Clock* clock);
  void Run();

  const std::unique_ptr<EngineLoop> loop_;
  const Clock* const clock_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace braid
