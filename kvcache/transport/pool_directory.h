// The pools a transport knows: whose memory, of which layout. Also judges what
// every transport must refuse in the same words.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/ids.h"
#include "kvcache/kv_arena.h"
#include "kvcache/transport/kv_transport.h"

namespace braid {

class PoolDirectory final {
 public:
  // See KvTransport::RegisterPool.
  absl::Status Add(PoolId pool, const KvArena& arena);

  // NOT_FOUND unless both pools of `spec` are known. CHECKs its block ids.
  absl::Status Validate(const TransferSpec& spec) const;

  // REQUIRES: known.
  const KvArena& arena(PoolId pool) const;

 private:
  absl::flat_hash_map<PoolId, const KvArena*> arenas_;
};

// Errors of Open that concern the id alone.
absl::Status DuplicateTransferError(TransferId id);
absl::Status TooManyTransfersError(uint32_t max_in_flight);

}  // namespace braid
