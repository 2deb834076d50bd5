// What a load generator measures at a fixed concurrency: so many clients, each
// sending its next request when its last answer has ended, against workers that
// batch continuously. Simulated step by step (runs of decode steps in one), so
// queueing, prompts that interrupt decode, and clients that run in lock-step
// come out by themselves.
//
// Deterministic: lengths are drawn with fixed seeds.
#pragma once

#include <cstdint>

#include "simulator/gpu/gpu_step_time.h"

namespace braid::gpu {

struct ClosedLoop {
  uint32_t clients = 1;                           // of the worker
  uint32_t prompt_tokens = 1, answer_tokens = 1;  // the longest
  // Lengths are uniform from these shares of the longest to all of it.
  double shortest_prompt = 1, shortest_answer = 1;
  uint32_t rounds = 10;  // requests per client
  // Decode steps that pass before a client has its first token.
  double first_token_steps = 0;
};

// Means over all requests, seconds, as load generators report them: the burst
// with which every client begins is in them.
struct LoopResult {
  double ttft = 0, tpot = 0;
  // Share of requests that waited because memory was full.
  double waited_for_memory = 0;
};

// One worker that does both phases.
LoopResult RunAggregated(const GpuStepTime& worker, const EngineHabits& habits,
                         const ClosedLoop& loop);

// Prompts on `prefills` equal workers, answers on `decodes`; KV moves in
// `transfer` seconds, which delay the second token only.
struct DisaggregatedWorkers {
  const GpuStepTime& prefill;
  const GpuStepTime& decode;
  uint32_t prefills = 1, decodes = 1;
  double transfer = 0;
};
LoopResult RunDisaggregated(const DisaggregatedWorkers& workers,
                            const EngineHabits& habits, const ClosedLoop& loop);

}  // namespace braid::gpu
