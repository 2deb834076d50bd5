// Seam: moves KV blocks from one pool to another. Knows pools, blocks and
// layers; knows no requests, tokens or devices.
//
// Contract, held by one conformance suite for every implementation:
//   - No method blocks.
//   - Two-sided: a transfer is known by a global TransferId; the receiver
//     makes it known (Open), the sender says what is ready (Post). In one
//     process one caller does both.
//   - Every accepted id yields exactly one terminal event, whatever happens:
//     complete, failed or cancelled. After it no byte of either side is read
//     or written on its behalf; only then may the caller let the blocks go.
//   - Cancel means "no further work"; the terminal event still comes.
//   - A piece for an id that is unknown or dead, or posted a second time, is
//     dropped and counted: reused memory cannot be written by a late sender.
//   - Bytes are checksummed; a mismatch fails the transfer.
//
// Threads: all methods are called on the engine thread. An implementation may
// move bytes on its own threads; it reports only through Poll, and calls the
// callback given at construction whenever Poll has something new: from any
// thread, also from within Open, Post and Cancel.
//
// Whose memory: the caller keeps a SendLease on the source blocks of all posted
// pieces, and a ReceiveLease on all destination blocks, from before the call
// until after the terminal event.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "kvcache/kv_arena.h"

namespace braid {

struct BlockPair {
  BlockId source;
  BlockId destination;
};

// Where a transfer's bytes come from and may land. `pairs` is what is still
// missing at the destination; shared prefixes do not travel, nor do layers
// before `first_layer`, which the receiver has elsewhere.
struct TransferSpec {
  TransferId id;
  PoolId source;
  PoolId destination;
  std::vector<BlockPair> pairs;
  uint32_t first_layer = 0;
};

// Some of a transfer: pairs [first_pair, end_pair) x layers [first, end).
// Pieces of one id may be posted as they become ready, in any order; together
// they cover every (pair, layer) that travels once.
struct TransferPiece {
  TransferId id;
  uint32_t first_pair = 0, end_pair = 0;
  uint32_t first_layer = 0, end_layer = 0;
};

struct TransferEvent {
  enum class Outcome : uint8_t { kComplete, kFailed, kCancelled };
  TransferId id;
  Outcome outcome = Outcome::kComplete;
  absl::Status status;  // why it failed
  uint64_t bytes = 0;   // moved, whatever the outcome; 0 for a change of owner
};

struct TransportStats {
  uint64_t transfers_completed = 0;
  uint64_t transfers_failed = 0;
  uint64_t transfers_cancelled = 0;
  uint64_t bytes_moved = 0;
  uint64_t late_pieces_dropped = 0;
};

struct TransportOptions {
  uint32_t max_in_flight = 1024;  // transfers without a reported terminal event
  // Must not block; is called until the transport's destructor has returned.
  std::function<void()> wake = [] {};
};

class KvTransport {
 public:
  virtual ~KvTransport() = default;

  // "loopback", "copy": also the label of metrics.
  virtual std::string_view name() const = 0;

  // Makes a pool's memory known. The arena outlives the transport.
  // FAILED_PRECONDITION when its layout differs from that of pools known
  // already; ALREADY_EXISTS for a pool that is known. Before anything is sent.
  virtual absl::Status RegisterPool(PoolId pool, const KvArena& arena) = 0;

  // Opens a transfer. An error means it was not accepted, and no event comes:
  // NOT_FOUND for an unknown pool, ALREADY_EXISTS for an id in flight,
  // RESOURCE_EXHAUSTED for too many in flight, FAILED_PRECONDITION for a way
  // that this transport cannot go. Without pairs it is complete at once.
  // REQUIRES: block ids within their pools.
  virtual absl::Status Open(const TransferSpec& spec) = 0;

  // The piece's source bytes are final; they may be moved now. The terminal
  // event kComplete comes once all of the spec is covered and has arrived.
  // REQUIRES: the piece lies within the spec, and overlaps no other one unless
  // it repeats what was posted entirely.
  virtual void Post(const TransferPiece& piece) = 0;

  // Idempotent; unknown and finished ids are ignored. A transfer that was
  // finished already, but not yet reported, may still report kComplete.
  virtual void Cancel(TransferId id) = 0;

  // Appends the terminal events that have come since the last call.
  virtual void Poll(std::vector<TransferEvent>& events) = 0;

  virtual TransportStats stats() const = 0;
};

}  // namespace braid
