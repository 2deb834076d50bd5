// Hands a request's KV from its prefill device to its decode device: one
// transfer per request, opened at admission, fed as blocks become final, ended
// by the transport's terminal event. README.md in this folder is the contract.
//
//   Open       both ends' blocks are taken; a cached prefix goes at once
//   ChunkDone  the blocks that the chunk has filled go
//   Progress   of the last chunk: the layers that are complete go, so that of a
//              long prompt only the last group of layers is waited for
//   Poll       terminal event: the leases end, the request may decode
//   Abandon    the request is over: no further work, leases stay till the event
//
// Streams that were computed apart from their request (stream_catch_up.h) go by
// transfers of their own, whole blocks at a time and without layer 0: Send, and
// AbandonSend.
//
// Thread safety: engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/ids.h"
#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "kvcache/kv_layout.h"
#include "kvcache/transport/kv_transport.h"
#include "scheduler/request.h"
#include "scheduler/stream_catch_up.h"

namespace braid {

struct HandoffEvent {
  RequestId request;
  CatchUpId catch_up;  // 0: it is the request's own
  PoolId from, to;
  // OK: the blocks are where decode wants them. DATA_LOSS: a checksum differed.
  absl::Status status;
};

class KvHandoff final {
 public:
  // `transport` outlives it.
  KvHandoff(KvTransport* transport, const KvLayout& layout);

  // REQUIRES: admitted to two devices, no chunk computed yet. An error means
  // that there is no transfer, and no event comes.
  absl::Status Open(const Request& request, BlockPool& source,
                    BlockPool& destination);

  // KV of [0, end) of the prompt is complete. Called before the scheduler
  // commits the step: it may exchange blocks for equal ones, and what is to be
  // sent must be under a lease by then.
  void ChunkDone(const Request& request, uint32_t end);

  // The last chunk's KV is complete in layers [0, layers).
  void Progress(const Request& request, uint32_t layers);

  // The stream's next blocks, which are complete. An error means that there is
  // no transfer, and no event comes. REQUIRES: none of it is open.
  absl::Status Send(const StreamCatchUp& catch_up);
  void AbandonSend(CatchUpId catch_up);

  // Whether Progress is of use: bytes have to move.
  bool streams(RequestId request) const;

  void Abandon(RequestId request);

  // Appends what has ended since the last call, but not what was abandoned.
  void Poll(std::vector<HandoffEvent>& events);

  // Transfers without a terminal event yet, abandoned ones included.
  size_t open() const { return transfers_.size(); }

 private:
  struct Transfer {
    RequestId request;
    CatchUpId catch_up;  // 0: it is the request's own
    bool abandoned = false;
    bool moves_bytes = false;
    BlockPool* source = nullptr;
    PoolId destination;
    std::vector<BlockId> blocks;  // at the source, of the pairs
    uint32_t first_block = 0;     // of the prompt, that pair 0 is
    uint32_t leased = 0;          // pairs
    // Posted: pairs [0, posted) whole; of the rest, layers [0, layers).
    uint32_t posted = 0;
    uint32_t layers = 0;
    SendLease sending;
    ReceiveLease receiving;
  };

  Transfer* Find(RequestId request, TransferId* id);
  void Lease(Transfer& transfer, uint32_t end_pair);
  void PostBlocks(TransferId id, Transfer& transfer, uint32_t end_pair);

  KvTransport* const transport_;
  const KvLayout layout_;
  uint64_t next_id_ = 1;
  absl::flat_hash_map<TransferId, Transfer> transfers_;
  absl::flat_hash_map<RequestId, TransferId> by_request_;
  absl::flat_hash_map<CatchUpId, TransferId> by_catch_up_;
  std::vector<HandoffEvent> nothing_to_move_;
  std::vector<TransferEvent> events_;
};

}  // namespace braid
