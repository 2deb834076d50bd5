// A request as the scheduler knows it: its tokens, its state and its blocks.
// How it is sampled, and who reads the answer, is the engine's affair.
//
//              admitted           last chunk, other device      arrived
//   kWaiting ───────────► kPrefilling ───────────► kTransferring ───► kDecoding
//                          ▲     │ last chunk, same device    │          ▲
//                          │     └────────────────────────────┼──────────┘
//                          └──── hand-over failed: recompute ─┘
//   every state ──► kFinished (stop, length, cancel, deadline, failure)
//   the three in the middle ──► kWaiting (preempted, or its device is lost: it
//                               keeps its tokens and its place in the queue)
//
// Thread safety: engine thread only; changed by Scheduler alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "kvcache/block_table.h"

namespace braid {

enum class RequestState : uint8_t {
  kWaiting,
  kPrefilling,
  kTransferring,
  kDecoding,
  kFinished,
};
inline constexpr int kRequestStateCount = 5;
const char* ToString(RequestState state);

// The transition table; the picture above.
bool IsLegal(RequestState from, RequestState to);

// What is known of a request when it arrives.
struct RequestInput {
  RequestId id;
  std::vector<TokenId> prompt;  // not empty
  uint32_t max_output = 0;      // 0: only the prompt is scored
  // Identifies what else the KV depends on (model, tenant).
  uint64_t prefix_seed = 0;
  // False when every position must be computed (the prompt is scored).
  bool skip_cached = true;
  TimePoint arrival;
  TimePoint deadline = kNever;  // hard: of the whole request
  int32_t priority = 0;         // higher first
  uint32_t service_class = 0;   // index into SchedulerConfig::classes
  uint64_t tenant = 0;
};

struct Request {
  explicit Request(RequestInput input);

  // CHECKs the transition table.
  void MoveTo(RequestState next);

  std::span<const TokenId> prompt() const {
    return std::span(tokens).first(prompt_size);
  }
  std::span<const TokenId> output() const {
    return std::span(tokens).subspan(prompt_size);
  }
  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  bool handed_over() const { return prefill_device != decode_device; }
  // Positions that hold KV when the last token has been drawn: that token
  // itself is never fed back.
  uint64_t positions() const {
    return uint64_t{prompt_size} + (max_output > 0 ? max_output - 1 : 0);
  }

  // Fixed on arrival.
  const RequestId id;
  const uint32_t prompt_size;
  const uint32_t max_output;
  const uint64_t prefix_seed;
  const bool skip_cached;
  const TimePoint arrival;
  const TimePoint deadline;
  const int32_t priority;
  const uint32_t service_class;
  const uint64_t tenant;

  RequestState state = RequestState::kWaiting;
  std::vector<TokenId> tokens;  // prompt, then output
  // KV of [0, computed) is in `blocks`. In kDecoding all tokens but the last
  // have theirs.
  uint32_t computed = 0;
  uint32_t cached = 0;     // of the prompt, found in the prefix cache
  bool in_flight = false;  // a step reads and writes `blocks` right now

  // Tokens of which prefill computes the KV, and which a hand-over moves: the
  // prompt, and of a request that was put back, its answer so far. Fixed at
  // admission.
  uint32_t prefill_size = 0;
  // Put back into the queue when the step in flight on it is committed.
  bool displaced = false;

  // Fixed at admission; recomputing moves prefill to the decode device.
  DeviceId prefill_device, decode_device;
  // What steps run on. The decode credit is in it, or in `landing`.
  BlockTable blocks;
  // The decode pool's blocks, when that is another pool; they become `blocks`
  // when the hand-over is complete. The first `landing_cached` hold a cached
  // prefix, which does not travel.
  BlockTable landing;
  uint32_t landing_cached = 0;
  bool transfer_failed = false;
};

}  // namespace braid
