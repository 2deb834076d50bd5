// What no policy can exceed on given machines: how many requests of a trace
// could be served within both targets, with everything known beforehand.
//
// Granted is what no cluster has: a cache without end that every worker reads
// (of the trace so far, refused requests included), prompts that any number of
// workers compute at once, weights that are read while something else computes,
// and decode rows that cost no more than their own arithmetic and KV. Two
// bounds follow, and the lower one counts:
//
//   prompts  each within [arrival, arrival + TTFT target] on one machine as
//            fast as all workers: whom to refuse is then known (Kise, Ibaraki
//            and Mine, Operations Research 26, 1978: windows end in the order
//            in which they begin)
//   work     prompts and answers, the cheapest requests first, until all
//            workers' time up to the end of the last answer is used
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "simulator/replay/cluster.h"
#include "simulator/replay/trace.h"
#include "simulator/replay/worker_times.h"

namespace braid {

struct CapacityBound {
  uint64_t by_prompts = 0, by_work = 0;
  // Seconds of one worker: all requests' least work.
  double prompt_seconds = 0, answer_seconds = 0;
  uint64_t met() const { return by_prompts < by_work ? by_prompts : by_work; }
};

CapacityBound BoundOf(const Trace& trace, const ClusterSpec& cluster,
                      const WorkerTimes& times);

// A job of the first bound: it takes `work` seconds of the one machine.
struct PromptJob {
  double arrival = 0, work = 0;
};
// Most of them that end within `target` of their arrival, one after another or
// in pieces. REQUIRES: in order of arrival.
uint64_t MostOnTime(const std::vector<PromptJob>& jobs, double target);

}  // namespace braid
