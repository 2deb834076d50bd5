// Where a request runs: which device computes its prompt and which decodes it.
// Filter, score, pick, on predictions; a pure function of plain values, so that
// the same code places within a node, among the nodes of a gateway and in the
// simulator, and so that a baseline is another function of the same values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/ids.h"
#include "scheduler/split.h"
#include "scheduler/step_time_model.h"

namespace braid {

// A device as a request sees it at one moment.
struct DeviceView {
  DeviceId id;
  uint32_t node = 0;  // prefill and decode are on one node
  PoolId pool;
  DeviceRole role = DeviceRole::kBoth;
  bool up = true;
  // Seconds until a prompt that is bound here now would begin: the step in
  // flight, chunks under way, and what stands before it in the queue.
  double prefill_wait = 0;
  // Seconds until blocks and a row for it are likely to be free here.
  double credit_wait = 0;
  uint32_t cached_tokens = 0;  // of this prompt, in the device's pool
  uint32_t all_blocks = ~0u;   // the pool's capacity
  uint64_t queued_tokens = 0;  // of prompts, bound here and not computed
  uint32_t decode_rows = 0;    // requests that decode here or are on their way
  uint32_t aside = 0;          // of them, rows that stand aside for prompts
  uint64_t decode_attended = 0;
  double tightest_tpot = 0;  // seconds; of them. 0: there are none
  // Phase it has been running lately, and for how long: a change costs.
  bool prefilling = false, decoding = false;
  const StepTimeModel* time = nullptr;  // of steps on its own cores
  // Where devices of a node lend each other their cores: of steps on those of
  // that many others, [0] being `time`. Empty: nobody lends.
  std::span<const StepTimeModel* const> by_lenders;
  // Computed here or waiting for it. Without prompts and rows its cores are
  // lent.
  uint32_t prompts = 0;
  // Seconds by which prompts have made one of its rows later than its own cores
  // would; of the last row.
  double rows_behind = 0;

  bool lends() const { return !by_lenders.empty(); }
  bool used() const { return prompts > 0 || decode_rows > 0; }
};

struct PlacementQuery {
  uint32_t prompt_tokens = 0;
  // Tokens; a forecast. At most 1 only where no more are wanted: then there is
  // nothing to decode.
  uint32_t expected_output = 0;
  uint32_t blocks = 0;                      // that it needs where it decodes
  double ttft_target = 0, tpot_target = 0;  // seconds
  SplitMode split = SplitMode::kAuto;
  // Of the devices' time lately, what prompts have taken; the rest went to
  // rows.
  double prompt_share = 0.35;
  uint32_t max_chunk = 0;  // most prompt tokens in a step
  // Prompt tokens that a step takes at least, though its decode rows be late.
  uint32_t min_chunk = 16;
  std::span<const DeviceView> devices;
  // Seconds from the last chunk's end to the KV's arrival; kNoLink where there
  // is no usable way. 0 within one pool.
  std::function<double(PoolId from, PoolId to, uint32_t tokens)> transfer;
};
inline constexpr double kNoLink = -1;

enum class PlacementReason : uint8_t {
  kOneDevice,      // there is only one that can, or the mode says so
  kNoDecode,       // at most one token is wanted: nothing to hand over
  kSplitForced,    // the mode says so
  kSplitFaster,    // two devices have it done sooner, or nearly so
  kSplitHarmless,  // one device would be faster, but at others' cost
  kBypassFaster,   // one device has both done sooner, and nobody suffers
  kDecodeStays,    // decoded where it was prefilled: the others are full
  kCacheNear,      // a longer queue is worth the prefix that is known there
};
const char* ToString(PlacementReason reason);

struct Placement {
  DeviceId prefill, decode;
  PlacementReason reason = PlacementReason::kOneDevice;
  double ttft = 0;    // predicted seconds until the first token
  double tpot = 0;    // predicted seconds between its tokens
  double damage = 0;  // predicted seconds by which running requests' tokens
                      // come later, summed over them
  friend bool operator==(const Placement&, const Placement&) = default;
};

// Empty: no device can ever take it as things are (all down, or no link).
using PlacementPolicy =
    std::function<std::optional<Placement>(const PlacementQuery&)>;

// Ours: the pair of least cost, of equals that with the lowest ids.
std::optional<Placement> ChoosePlacement(const PlacementQuery& query);

// The same with other weights than the usual: placement_cost.h.
struct PlacementWeights;
std::optional<Placement> PlaceByCost(const PlacementQuery& query,
                                     const PlacementWeights& weights);

}  // namespace braid
