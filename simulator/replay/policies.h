// Placement policies by name, as `--policy` and the comparison give them:
// "braid", "dynamo:overlap=2,refuse=1". All are functions of the same
// PlacementQuery (scheduler/placement_policy.h) and run inside the same
// Scheduler: queue, admission by credit, chunk sizes, prefix index and eviction
// are shared by all. A policy says where a request runs, and by its predicted
// TTFT whether it is taken at all (`refuse`).
//
//   braid        ChoosePlacement, as the daemon runs it; parameters are its
//                weights (scheduler/placement_cost.h)
//   round-robin  prefill and decode workers in turn
//   least-load   prefill: fewest prompt tokens queued; decode: fewest requests
//   dynamo       KV router of NVIDIA Dynamo at temperature 0: least
//                overlap x prefill blocks + decode blocks; split: the prefill
//                leg as above, the decode leg by decode blocks alone
//   mooncake     Algorithm 1 of the FAST'25 paper: the prefill worker with the
//                least queue + prefill time given its cached prefix; decode by
//                least load; refused when TTFT or TBT would miss its target
//   sticky       llm-d's prefix affinity until saturated: the longest cached
//                prefix unless that worker's queue is over `saturation` tokens,
//                then the least loaded
//   aggregated   both phases on one worker, in mixed steps (layout off), by
//                router=round-robin|least-load|dynamo|sticky
//
// Shared machinery also helps baselines where their papers have none: a request
// that waits may be placed anew when another worker is idle or has room, steps
// cut prompts to what running requests' token targets allow, and with refuse=1
// whoever would miss the TTFT target is refused on arrival.
//
// What the papers have and the shared machinery has not: Mooncake may also pull
// a prefix from another prefill worker's memory (its balancing threshold).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scheduler/placement_policy.h"

namespace braid {

struct PolicySpec {
  std::string name;  // without parameters
  std::map<std::string, std::string> parameters;
  std::string ToString() const;  // "dynamo:overlap=2,refuse=1"
};

// The error names what is known.
absl::StatusOr<PolicySpec> ParsePolicy(absl::string_view text);
std::vector<std::string> PolicyNames();

// A policy with a state of its own (whose turn it is); not to be shared by two
// replays.
PlacementPolicy MakePolicy(const PolicySpec& spec, uint32_t block_tokens);

}  // namespace braid
