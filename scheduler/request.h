// A request as the scheduler knows it: its tokens, its state and its blocks.
// How it is sampled, and who reads the answer, is the engine's affair.
//
//              admitted           last chunk, other device      arrived
//   kWaiting ───────────► kPrefilling ───────────► kTransferring ───► kDecoding
//                          ▲     │ last chunk, same device    │          ▲
//                          │     └────────────────────────────┼──────────┘
//                          └──── hand-over failed: recompute ─┘
//   kDecoding ──► kLingering ──► kFinished: its own answer is complete, and
//                 further candidates of it (best-of-n) go on for a while
//   every state ──► kFinished (stop, length, cancel, deadline, failure)
//   the three in the middle ──► kWaiting (preempted, or its device is lost: it
//                               keeps its tokens and its place in the queue)
//
// Thread safety: engine thread only; changed by Scheduler alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_keys.h"
#include "scheduler/admission_queue.h"
#include "scheduler/placement_policy.h"
#include "scheduler/stream_terms.h"

namespace braid {

enum class RequestState : uint8_t {
  kWaiting,
  kPrefilling,
  kTransferring,
  kDecoding,
  kLingering,
  kFinished,
};
inline constexpr int kRequestStateCount = 6;
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
  StreamTerms streams;  // off, where the model has no streams
  // Answers to choose from, its own included. More than one: without streams.
  uint32_t best_of = 1;
};

// A further stream of a request (stream_terms.h); stream 0 is the request.
struct RequestStream {
  // KV of [0, computed) is in `blocks`. Those of an elastic stream grow with
  // it, and are empty while nothing of it is kept.
  BlockTable blocks;
  uint32_t computed = 0;
  bool in_flight = false;  // a step reads and writes `blocks` right now
  PrefixKeys keys;         // none is equal to that of another stream
  // Computed on another device meanwhile, and left alone here; 0: it is not.
  CatchUpId catch_up;
  bool catch_up_failed = false;  // once: not again
};

// A further answer to a request's prompt, for best-of-n; candidate 0 is the
// request itself. It runs in idle rows and on blocks that it gives back when
// somebody else wants them; its tokens stay, so it goes on behind them by a
// longer append. What it draws depends on its own tokens alone.
struct BestOfCandidate {
  std::vector<TokenId> tokens;  // prompt, then its own; empty before it starts
  // KV of [0, computed) is in `blocks`. The first `shared` of them hold the
  // prompt and are the request's too; the others are its own and grow with it.
  BlockTable blocks;
  uint32_t shared = 0;
  uint32_t computed = 0;
  bool in_flight = false;  // a step reads and writes `blocks` right now
  // It has drawn all that it will. Only of the best such one blocks are kept.
  bool complete = false;

  bool holds() const { return blocks.pool() != nullptr; }
  std::span<const BlockId> own_blocks() const {
    return blocks.blocks().subspan(shared);
  }
};

// The members that every decode step touches stand first, in one cache line: a
// step of thousands of rows is as fast as memory lets it be.
struct alignas(64) Request {
  Request(RequestInput input, uint32_t slot);

  RequestState state = RequestState::kWaiting;
  bool in_flight = false;  // a step reads and writes `blocks` right now
  // Put back into the queue when the step in flight on it is committed.
  bool displaced = false;
  bool transfer_failed = false;
  const uint32_t slot;  // in the RequestTable
  // KV of [0, computed) is in `blocks`. In kDecoding all tokens but the last
  // have theirs.
  uint32_t computed = 0;
  uint32_t place_in_batch = 0;  // in DeviceState::decoding
  const RequestId id;
  std::vector<TokenId> tokens;  // prompt, then output
  // When its first token was drawn; kNever before.
  TimePoint first_token = kNever;
  const uint32_t prompt_size;
  const uint32_t max_output;

  const uint32_t service_class;
  const int32_t priority;
  const uint64_t prefix_seed;
  const uint64_t tenant;
  const TimePoint arrival;
  const TimePoint deadline;
  const bool skip_cached;
  const StreamTerms terms;
  const uint32_t best_of;

  // Waiting: refused after all, and only here until the caller has heard of it.
  bool refused = false;
  // Waiting: bound to devices. Not so while no device can take it.
  bool bound = false;
  uint8_t preemptions = 0;
  uint32_t cached = 0;  // of the prompt, found in the prefix cache
  // Tokens of which prefill computes the KV, and which a hand-over moves: the
  // prompt, and of a request that was put back, its answer so far. Fixed at
  // admission.
  uint32_t prefill_size = 0;

  // Chosen when it is bound, fixed at admission; recomputing moves prefill to
  // the decode device.
  DeviceId prefill_device, decode_device;
  PlacementReason reason = PlacementReason::kOneDevice;
  // Waiting: its tokens found in the two devices' pools when it was bound.
  uint32_t hinted = 0, landing_hinted = 0;
  QueueKey key;
  TimePoint latest_start = kNever;  // or its deadline cannot be met
  TimePoint bound_at;
  double ttft = 0;          // predicted from then on
  TimePoint prefill_ended;  // its last chunk's end
  // When it came: rows that decoded where its prompt is computed, whether they
  // all owed, and whether prompts were there before it.
  uint32_t met_rows = 0;
  bool met_owing = false;
  bool in_line = false;
  // Its first chunk's step, and what the steps of its prompt were predicted to
  // take for it and the rows in them: seconds.
  TimePoint prompt_begun = kNever;
  double prompt_seconds = 0;

  // Of its full blocks: all of the prompt's, and of what follows as it is
  // computed.
  PrefixKeys keys;

  // What steps run on. The decode credit is in it, or in `landing`.
  BlockTable blocks;
  // The decode pool's blocks, when that is another pool; they become `blocks`
  // when the hand-over is complete. The first `landing_cached` hold a cached
  // prefix, which does not travel.
  BlockTable landing;
  uint32_t landing_cached = 0;

  // The set its streams are of; null: it has one stream, and always will.
  const StreamSet* set = nullptr;
  uint32_t gang = 1;      // streams in lock-step from the first position on
  uint32_t answered = 1;  // streams that answered its last token
  // Stream s at [s - 1]. Of a gang, its tables are as long as `blocks`. Elastic
  // ones: while it is admitted, and with blocks in kDecoding only.
  std::vector<RequestStream> streams;
  // Candidate i at [i - 1]. They run while it is in kDecoding or kLingering,
  // and hold nothing else.
  std::vector<BestOfCandidate> candidates;

  // CHECKs the transition table.
  void MoveTo(RequestState next);

  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  std::span<const TokenId> prompt() const {
    return std::span(tokens).first(prompt_size);
  }
  std::span<const TokenId> output() const {
    return std::span(tokens).subspan(prompt_size);
  }
  // Streams that come and go in idle rows; at most `most_streams`.
  bool elastic() const { return set != nullptr && gang == 1; }
  // It may run as one stream too.
  bool optional_gang() const {
    return gang > 1 && terms.mode == StreamMode::kAuto;
  }
  uint32_t most_streams() const {
    return set == nullptr ? 1 : std::min(terms.max, set->streams);
  }
  // Blocks of the prompt that every candidate shares: the last token is
  // computed by each, since its logits are wanted.
  uint32_t candidates_share(uint32_t block_tokens) const {
    return (prompt_size - 1) / block_tokens;
  }
  // Lingering: some candidate may still become complete.
  bool waits_for_candidates() const {
    return std::ranges::any_of(candidates, [](const BestOfCandidate& one) {
      return one.holds() && !one.complete;
    });
  }
  std::span<const BlockId> blocks_of(uint32_t stream) const {
    return (stream == 0 ? blocks : streams[stream - 1].blocks).blocks();
  }
  bool handed_over() const { return prefill_device != decode_device; }
  // Positions that hold KV when the last token has been drawn: that token
  // itself is never fed back.
  uint64_t positions() const {
    return uint64_t{prompt_size} + (max_output > 0 ? max_output - 1 : 0);
  }
};

}  // namespace braid
