// A decorator that does to a transport what the world does to one: refused
// opens, late events, repeated and late pieces, damaged bytes. Without faults
// it passes the conformance suite.
//
// Threads: as the inner transport; adds none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/rng.h"
#include "kvcache/transport/kv_transport.h"

namespace braid {

struct TransportFaults {
  uint64_t seed = 0;
  uint32_t fail_open_every = 0;   // every Nth Open: UNAVAILABLE; 0: never
  uint32_t damage_every = 0;      // every Nth completed one: a byte is flipped
  uint32_t max_delay_polls = 0;   // events are held back for up to that many
  double repeat_probability = 0;  // of a piece: twice at once, and once more
                                  // after the terminal event
};

class FaultyKvTransport final : public KvTransport {
 public:
  // `wake` is called while events are held back, so that the owner polls again.
  FaultyKvTransport(std::unique_ptr<KvTransport> inner, TransportFaults faults,
                    std::function<void()> wake);

  std::string_view name() const override { return inner_->name(); }
  absl::Status RegisterPool(PoolId pool, const KvArena& arena) override;
  absl::Status Open(const TransferSpec& spec) override;
  void Post(const TransferPiece& piece) override;
  void Cancel(TransferId id) override;
  void Poll(std::vector<TransferEvent>& events) override;
  TransportStats stats() const override { return inner_->stats(); }

 private:
  struct Transfer {
    TransferSpec spec;
    std::vector<TransferPiece> repeats;
  };
  struct Held {
    TransferEvent event;
    uint32_t polls_left;
  };
  void Damage(const TransferSpec& spec);

  const std::unique_ptr<KvTransport> inner_;
  const TransportFaults faults_;
  const std::function<void()> wake_;
  Rng rng_;
  absl::flat_hash_map<PoolId, const KvArena*> arenas_;
  absl::flat_hash_map<TransferId, Transfer> transfers_;
  std::vector<Held> held_;
  uint64_t opens_ = 0, completions_ = 0;
};

}  // namespace braid
