// A stream of a request that decodes, computed on another device that has
// nothing else to do, from tokens alone, and sent to where the request is.
//
//   kComputing ──► kReady ◄──► kSending ──► landed: the request's stream has it
//        │            │            │
//        └────────────┴────────────┴──────► given up; a step in flight on it is
//                                           waited for (kOver)
//
// It covers whole blocks of what the request has computed by now. What is said
// meanwhile the stream catches up on where it lands, in idle rows.
//
// Its blocks, at both ends, count as those of elastic streams do: nobody waits
// for them but while a step or a transfer is at work on them.
//
// Thread safety: engine thread only; changed by Scheduler alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_keys.h"

namespace braid {

struct StreamCatchUp {
  enum class State : uint8_t { kComputing, kReady, kSending, kOver };

  CatchUpId id;
  State state = State::kComputing;
  bool in_flight = false;  // a step reads and writes `blocks` right now
  RequestId request;
  uint32_t slot = 0;  // of the request, while it is not over
  uint32_t stream = 0;
  DeviceId device;  // that computes it
  // Those that it computes, a copy: the request goes on, and may end.
  std::vector<TokenId> tokens;
  // Apart from those of streams that share layer 0 with their stream 0.
  PrefixKeys keys;
  // KV of [0, computed), all layers, in the device's pool.
  BlockTable blocks;
  uint32_t computed = 0;
  // Where the request decodes, as many blocks. The first `landed` hold KV, of
  // all layers but the first; the next `sending` are on their way.
  BlockTable landing;
  uint32_t landed = 0, sending = 0;
  TimePoint sent_at;

  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  std::span<const BlockId> source() const {
    return blocks.blocks().subspan(landed, sending);
  }
  std::span<const BlockId> destination() const {
    return landing.blocks().subspan(landed, sending);
  }
};

}  // namespace braid
