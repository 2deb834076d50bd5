// A replay's result in numbers, as JSON and as figures. The JSON's schema is in
// simulator/replay/README.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "simulator/replay/cluster.h"
#include "simulator/replay/policies.h"
#include "simulator/replay/replay_result.h"
#include "simulator/replay/trace.h"

namespace braid {

struct ReplayNumbers {
  uint64_t requests = 0, served = 0, refused = 0, shed = 0, too_long = 0;
  // Served within the TTFT target, within the TPOT target, within both.
  uint64_t met_ttft = 0, met_tpot = 0, met = 0;
  double attainment = 0;  // met / requests; what was refused is a miss
  // Requests whose TTFT target could be met at all (CountFeasible), and the
  // share of them that was: met / feasible.
  uint64_t feasible = 0;
  double attainment_of_feasible = 0;
  uint64_t bound = 0;       // that no policy exceeds (CapacityBound)
  double offered_rate = 0;  // requests per second over the time of arrivals
  double goodput = 0;       // of them, those that met both
  double goodput_per_gpu = 0;
  Summary ttft, tpot, gaps, queue, hand_over;  // of served requests; seconds
  double hit_share = 0;  // of served prompts' tokens, found in the cache
  uint64_t handed_over = 0;
  std::map<std::string, uint64_t> reasons;  // of served requests' placements
  // Mean busy share of workers by role, and of that what was mixed.
  struct Busy {
    uint32_t workers = 0;
    double prefill = 0, decode = 0, mixed = 0, kv_used = 0;
  };
  std::map<std::string, Busy> roles;  // "prefill", "decode", "both"
};

ReplayNumbers Count(const ReplayResult& result, const Trace& trace,
                    const ClusterSpec& cluster, uint64_t feasible);

// What was replayed on what.
struct ReplayLabels {
  std::string command;  // that makes the result again
  PolicySpec policy;
  double scale = 1;
};

// `wall`: with the time it took, the only part that differs between reruns.
std::string ReplayJson(const ReplayResult& result, const ReplayNumbers& numbers,
                       const Trace& trace, const ClusterSpec& cluster,
                       const ReplayLabels& labels, bool wall);

// A line per request, in order of arrival, below a line of names.
std::string RequestsCsv(const ReplayResult& result);

// DIR/result.json, requests.csv, latency.svg, utilisation.svg, load.svg,
// report.html.
absl::Status WriteReport(const std::string& folder, const ReplayResult& result,
                         const ReplayNumbers& numbers, const Trace& trace,
                         const ClusterSpec& cluster,
                         const ReplayLabels& labels);

}  // namespace braid
