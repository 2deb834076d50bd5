// What it costs to run a request on a pair of devices. The cost is in seconds
// of the request itself, from now to its last token; what it does to others is
// added with weights.
//
//   start  = max(the prompt's turn at p, credit at d)
//   ttft   = start + steps at p until the prompt is computed
//   after  = hand-over + tokens after the first x tpot at d
//   cost   = ttft + after + late x (what of them is beyond the targets)
//          + credit x wait for credit + others(p) + others(d)
//
// A prompt on a device that decodes goes in chunks that its rows' token target
// allows. A row on a device that computes prompts takes time from them and
// forces those chunks on them, the first row most of all: that is why decoding
// gathers on few devices, whatever their roles, when prompts are many. All but
// `start` and the hand-over belongs to one side alone, so n devices are priced
// in O(n), and few pairs have to be.
//
// Where devices lend each other their cores (placement_lending.h), roles are
// worth nothing: a request that joins others has steps on more cores, and one
// that does not takes theirs away. n of them are priced in O(n^2).
//
// Thread safety: values and pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "scheduler/placement_policy.h"

namespace braid {

struct PlacementWeights {
  // A second beyond the TTFT target, or by which the tokens after the first
  // fall behind the TPOT target, counts as that many more.
  double late = 8;
  // A second by which a running request's token comes later: within its target,
  // and beyond it.
  double slack = 0.05, harm = 20;
  // The same within its target, where a prompt comes to a device that is meant
  // to decode: its rows are there to be left alone, until targets are at stake.
  double guard = 1;
  // Where devices lend their cores, whatever their roles: a second by which
  // rows come later for a prompt, beside it or because it calls cores back; and
  // one that others lose to a row that keeps cores from them for a whole
  // answer.
  double stall = 0.2, kept = 1;
  // There too, of the request's own time, what a second device must save: step
  // models of two devices err apart, and prompts to come would find both taken.
  double apart = 0.2;
  // A second of device time that other prompts could have had.
  double work = 1;
  // A second until blocks or a row are free, beside the waiting itself: a full
  // device is no place to gather on.
  double credit = 4;
  // Seconds that an unusual role, and turning a device around, must gain.
  double role = 0.005, turn = 0.005;
};

// A device as the one that computes the prompt.
struct PrefillCost {
  double wait = 0;     // until it begins
  double compute = 0;  // from there to the first token
  double others = 0;   // weighted
  double damage = 0;   // seconds, unweighted: Placement::damage
};
PrefillCost PrefillCostOf(const PlacementQuery& query,
                          const PlacementWeights& weights,
                          const DeviceView& device);

// A device as the one that computes the tokens after the first.
struct DecodeCost {
  double wait = 0;    // for credit
  double join = 0;    // until the step in flight ends, for who comes from afar
  double tokens = 0;  // seconds for all of them
  double tpot = 0;
  double others = 0;  // weighted
  double damage = 0;
};
DecodeCost DecodeCostOf(const PlacementQuery& query,
                        const PlacementWeights& weights,
                        const DeviceView& device);

// Tokens that are decoded: the first is prefill's own.
inline uint32_t DecodedTokens(const PlacementQuery& query) {
  return query.expected_output > 1 ? query.expected_output - 1 : 0;
}

struct PairCost {
  double cost = 0;
  double own = 0;  // of it, without what is done to others
  double ttft = 0;
};
// `credit`: seconds until both have the blocks. `hand_over`: from the first
// token to the row's first step; 0 on one device.
inline PairCost PairCostOf(const PlacementQuery& query,
                           const PlacementWeights& weights,
                           const PrefillCost& prefill, const DecodeCost& decode,
                           double credit, double hand_over) {
  PairCost pair;
  pair.ttft = std::max(prefill.wait, credit) + prefill.compute;
  double late = 0;
  if (query.ttft_target > 0) {
    late += std::max(0.0, pair.ttft - query.ttft_target);
  }
  if (query.tpot_target > 0) {
    // A forecast is not a promise: where tokens make up for the hand-over, they
    // must have done so by a quarter of them.
    const double each = decode.tpot - query.tpot_target;
    const double tokens = DecodedTokens(query) * (each > 0 ? 1 : 0.25);
    late += std::max(0.0, hand_over + tokens * each);
  }
  pair.own = pair.ttft + hand_over + decode.tokens + weights.late * late;
  pair.cost =
      pair.own + weights.credit * credit + prefill.others + decode.others;
  return pair;
}

}  // namespace braid
