// The way between two devices that share one arena: a block changes its owner,
// and nothing is copied. Complete with the piece that covers the rest, reported
// by the next Poll.
//
// Threads: none of its own.
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "kvcache/transport/kv_transport.h"
#include "kvcache/transport/pool_directory.h"
#include "kvcache/transport/transfer_coverage.h"

namespace braid {

class LoopbackTransport final : public KvTransport {
 public:
  explicit LoopbackTransport(TransportOptions options);

  std::string_view name() const override { return "loopback"; }
  absl::Status RegisterPool(PoolId pool, const KvArena& arena) override;
  // FAILED_PRECONDITION unless both pools are the same.
  // REQUIRES: both blocks of every pair are the same.
  absl::Status Open(const TransferSpec& spec) override;
  void Post(const TransferPiece& piece) override;
  void Cancel(TransferId id) override;
  void Poll(std::vector<TransferEvent>& events) override;
  TransportStats stats() const override { return stats_; }

 private:
  struct Transfer {
    TransferCoverage coverage;
    bool finished = false;  // its event waits in finished_
  };
  void Finish(TransferId id, Transfer& transfer,
              TransferEvent::Outcome outcome);

  const TransportOptions options_;
  PoolDirectory pools_;
  absl::flat_hash_map<TransferId, Transfer> transfers_;
  std::vector<TransferEvent> finished_;
  TransportStats stats_;
};

}  // namespace braid
