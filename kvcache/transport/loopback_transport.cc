#include "kvcache/transport/loopback_transport.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace braid {

LoopbackTransport::LoopbackTransport(TransportOptions options)
    : options_(std::move(options)) {}

absl::Status LoopbackTransport::RegisterPool(PoolId pool,
                                             const KvArena& arena) {
  return pools_.Add(pool, arena);
}

absl::Status LoopbackTransport::Open(const TransferSpec& spec) {
  BRAID_RETURN_IF_ERROR(pools_.Validate(spec));
  if (spec.source != spec.destination) {
    return absl::FailedPreconditionError(absl::StrCat(
        "KV pools ", spec.source.value(), " and ", spec.destination.value(),
        " share no memory; use --kv-transport copy"));
  }
  if (transfers_.contains(spec.id)) return DuplicateTransferError(spec.id);
  if (transfers_.size() >= options_.max_in_flight) {
    return TooManyTransfersError(options_.max_in_flight);
  }
  for (const BlockPair& pair : spec.pairs) {
    BRAID_CHECK(pair.source == pair.destination);
  }
  const uint32_t layers = pools_.arena(spec.source).layout().layers;
  const auto pairs = static_cast<uint32_t>(spec.pairs.size());
  Transfer& transfer =
      transfers_
          .emplace(spec.id,
                   Transfer{TransferCoverage(pairs, layers, spec.first_layer)})
          .first->second;
  if (transfer.coverage.complete()) {
    Finish(spec.id, transfer, TransferEvent::Outcome::kComplete);
  }
  return absl::OkStatus();
}

void LoopbackTransport::Post(const TransferPiece& piece) {
  const auto it = transfers_.find(piece.id);
  if (it == transfers_.end() || it->second.finished ||
      !it->second.coverage.Add(piece)) {
    ++stats_.late_pieces_dropped;
    return;
  }
  if (it->second.coverage.complete()) {
    Finish(piece.id, it->second, TransferEvent::Outcome::kComplete);
  }
}

void LoopbackTransport::Cancel(TransferId id) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end() || it->second.finished) return;
  Finish(id, it->second, TransferEvent::Outcome::kCancelled);
}

void LoopbackTransport::Poll(std::vector<TransferEvent>& events) {
  for (TransferEvent& event : finished_) {
    transfers_.erase(event.id);
    events.push_back(std::move(event));
  }
  finished_.clear();
}

void LoopbackTransport::Finish(TransferId id, Transfer& transfer,
                               TransferEvent::Outcome outcome) {
  transfer.finished = true;
  finished_.push_back({.id = id, .outcome = outcome});
  ++(outcome == TransferEvent::Outcome::kComplete ? stats_.transfers_completed
                                                  : stats_.transfers_cancelled);
  options_.wake();
}

}  // namespace braid
