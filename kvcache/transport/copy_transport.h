// Moves KV bytes between the arenas of two pools of this process, on a thread
// of its own, while both sides compute.
//
// Threads: the engine thread calls the methods; movers take jobs from one
// bounded queue, in the order they were posted. One mutex guards the queue and
// what movers report; it is never held while bytes move.
//
// Checksums: of every block that is moved, one stripe is hashed at the source
// before the copy and at the destination after the whole piece has been moved.
// Which stripe follows from the transfer's id, so in time every byte of a block
// has its turn. A block that landed in the wrong place fails always, a flipped
// bit in one of `checked_share` cases.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "kvcache/transport/kv_transport.h"
#include "kvcache/transport/pool_directory.h"

namespace braid {

struct CopyTransportOptions {
  TransportOptions common;
  // A piece posted beyond that many fails its transfer: RESOURCE_EXHAUSTED.
  uint32_t max_queued_pieces = 65'536;
  uint32_t movers = 1;          // threads
  uint32_t checked_share = 32;  // one byte in that many is checksummed
};

class CopyTransport final : public KvTransport {
 public:
  explicit CopyTransport(CopyTransportOptions options);
  // Drops what is queued, lets movers finish the block they are at, joins them.
  ~CopyTransport() override;

  std::string_view name() const override { return "copy"; }
  absl::Status RegisterPool(PoolId pool, const KvArena& arena) override;
  // REQUIRES: no block of the spec is copied onto itself.
  absl::Status Open(const TransferSpec& spec) override;
  void Post(const TransferPiece& piece) override;
  void Cancel(TransferId id) override;
  void Poll(std::vector<TransferEvent>& events) override;
  TransportStats stats() const override { return stats_; }

 private:
  struct Transfer;
  struct Job {
    Transfer* transfer;  // lives while it has pieces left
    TransferPiece piece;
  };
  struct Moved {
    uint64_t bytes = 0;
    absl::Status status;
  };

  void RunMover();
  // Copies until done or until the transfer is stopped. `sums` is scratch.
  Moved Move(const Job& job, std::vector<uint64_t>& sums) const;

  // These need mutex_.
  void Stop(Transfer& transfer);
  // True when it became finished by this: the caller wakes after unlocking.
  [[nodiscard]] bool FinishIfIdle(Transfer& transfer);

  const CopyTransportOptions options_;
  PoolDirectory pools_;
  absl::flat_hash_map<TransferId, std::unique_ptr<Transfer>> transfers_;
  TransportStats stats_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Job> queue_;             // guarded by mutex_
  std::vector<Transfer*> finished_;   // guarded by mutex_
  std::vector<Transfer*> reporting_;  // Poll's half of a double buffer
  bool closing_ = false;              // guarded by mutex_
  std::vector<std::thread> movers_;
};

}  // namespace braid
