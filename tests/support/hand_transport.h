// A transport that moves bytes when it is told to: pieces in any order, some
// transfers failing, events late; all by the test's hand or seed, on one
// thread. Within one pool it changes the owner, as loopback does.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/rng.h"
#include "kvcache/transport/kv_transport.h"

namespace braid {

class HandTransport final : public KvTransport {
 public:
  explicit HandTransport(std::function<void()> wake) : wake_(std::move(wake)) {}

  std::string_view name() const override { return "hand"; }
  absl::Status RegisterPool(PoolId pool, const KvArena& arena) override;
  absl::Status Open(const TransferSpec& spec) override;
  void Post(const TransferPiece& piece) override;
  void Cancel(TransferId id) override;
  void Poll(std::vector<TransferEvent>& events) override;
  TransportStats stats() const override { return stats_; }

  // Moves one posted piece, or ends one transfer that is complete, cancelled
  // or, as `rng` has it, failed. False: there was nothing to do.
  bool Step(Rng& rng, double failure_probability = 0);

  // The next Opens are refused.
  void RefuseOpens(int n) { refuse_opens_ = n; }
  // What transfers fail with from now on.
  void FailWith(absl::Status status) { failure_ = std::move(status); }
  size_t pieces_posted() const { return pieces_posted_; }

 private:
  struct Transfer {
    TransferSpec spec;
    uint64_t missing = 0;  // pairs x layers
    bool cancelled = false;
    std::vector<TransferPiece> pieces;
  };
  void End(TransferId id, TransferEvent::Outcome outcome);

  const std::function<void()> wake_;
  absl::flat_hash_map<PoolId, const KvArena*> arenas_;
  std::vector<Transfer> open_;
  std::vector<TransferEvent> ended_;
  TransportStats stats_;
  absl::Status failure_ = absl::UnavailableError("failed by the test");
  int refuse_opens_ = 0;
  size_t pieces_posted_ = 0;
};

}  // namespace braid
