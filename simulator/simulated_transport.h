// A KvTransport over a simulated network: pieces travel as messages of a few
// blocks over links with bandwidth, latency and contention, and the network
// may lose, delay, duplicate, reorder and damage them.
//
//   Post ──► message ──► FairLink of the source pool ──► bytes are read ──►
//        latency ──► bytes are written ──► all arrived: complete
//
// What each fault comes to:
//   lost        the transfer fails after `timeout` without any progress
//   duplicated  the second one is dropped
//   damaged     a checksum over a sample of the message differs: DATA_LOSS
//   late        the id is dead: dropped and counted, never written
//
// It watches its callers too: bytes that are posted must not change until they
// have left, nor those that have arrived before the transfer is over, and
// blocks that bytes arrive in must not have been given to anybody.
//
// Within one pool nothing moves: the blocks change their owner.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "kvcache/transport/kv_transport.h"
#include "kvcache/transport/pool_directory.h"
#include "kvcache/transport/transfer_coverage.h"
#include "simulator/fair_link.h"
#include "simulator/world.h"

namespace braid {

struct SimulatedTransportOptions {
  TransportOptions common;
  uint32_t node = 0;
  double bytes_per_second = 1e9;  // out of each pool
  Duration latency = std::chrono::microseconds(20);
  Duration timeout = std::chrono::seconds(1);
  uint32_t blocks_per_message = 4;
  uint32_t checked_share = 4;  // one byte in that many is checksummed
  // False: the pool's device is gone, nothing goes to it or from it.
  std::function<bool(PoolId)> reachable = [](PoolId) { return true; };
  // Whether a block still waits for bytes: nobody may have it yet.
  std::function<bool(PoolId, BlockId)> awaited = [](PoolId, BlockId) {
    return true;
  };
};

class SimulatedTransport final : public KvTransport {
 public:
  SimulatedTransport(SimulatedTransportOptions options, World& world);
  ~SimulatedTransport() override;

  std::string_view name() const override { return "simulated"; }
  absl::Status RegisterPool(PoolId pool, const KvArena& arena) override;
  absl::Status Open(const TransferSpec& spec) override;
  void Post(const TransferPiece& piece) override;
  void Cancel(TransferId id) override;
  void Poll(std::vector<TransferEvent>& events) override;
  TransportStats stats() const override { return stats_; }

  // The pool's device is lost: its transfers fail.
  void FailPool(PoolId pool);
  // Everything ends now: the node is gone.
  void AbortAll();
  size_t open() const { return transfers_.size(); }

 private:
  using Outcome = TransferEvent::Outcome;
  struct Message {
    TransferPiece piece;
    uint32_t number = 0;       // within its transfer
    uint64_t posted_hash = 0;  // of the source bytes when they were posted
    uint64_t checksum = 0;     // of the sample, when they left
    std::vector<std::byte> bytes;
  };
  struct Transfer;

  void Send(Transfer& transfer, const TransferPiece& piece);
  void Leave(std::shared_ptr<Message> message);
  void Deliver(std::shared_ptr<Message> message);
  void Arrived(Transfer& transfer, const Message& message);
  void CheckAwaited(const Transfer& transfer, const TransferPiece& piece);
  void CheckLanded(const Transfer& transfer);
  // The terminal event, once: now, or after a while when it is reported late.
  void Finish(Transfer& transfer, Outcome outcome, absl::Status status);
  void End(TransferId id);
  void Watch(Transfer& transfer);
  Transfer* Find(TransferId id);
  FairLink& LinkOf(PoolId pool);
  Duration Latency();
  template <typename Visit>
  void ForEachSpan(const KvArena& arena, const TransferSpec& spec,
                   const TransferPiece& piece, bool source, Visit visit) const;
  uint64_t HashOf(const Transfer& transfer, const TransferPiece& piece,
                  bool source) const;
  void Log(LogKind kind, TransferId id, int64_t b = 0, int64_t c = 0) {
    world_.Log(options_.node, kind, static_cast<int64_t>(id.value()), b, c);
  }

  const SimulatedTransportOptions options_;
  World& world_;
  EventScope events_;
  PoolDirectory pools_;
  absl::flat_hash_map<PoolId, std::unique_ptr<FairLink>> links_;
  absl::flat_hash_map<TransferId, std::unique_ptr<Transfer>> transfers_;
  std::vector<TransferId> open_order_;  // of transfers_
  std::vector<TransferEvent> ended_;    // not reported yet
  TransportStats stats_;
};

}  // namespace braid
