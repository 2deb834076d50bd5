#include "kvcache/transport/copy_transport.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "kvcache/transport/stream_copy.h"
#include "kvcache/transport/transfer_coverage.h"

namespace braid {

struct CopyTransport::Transfer {
  Transfer(const TransferSpec& spec_in, const KvArena& source_in,
           const KvArena& destination_in)
      : spec(spec_in),
        source(source_in),
        destination(destination_in),
        coverage(static_cast<uint32_t>(spec.pairs.size()),
                 source.layout().layers, spec.first_layer) {}

  const TransferSpec spec;
  const KvArena& source;
  const KvArena& destination;
  TransferCoverage coverage;  // engine thread only
  // No further work. Written under mutex_; movers look between two blocks.
  std::atomic<bool> stopped{false};

  // Guarded by mutex_.
  uint32_t pieces_left = 0;  // queued, or being moved
  bool covered = false;
  bool finished = false;  // in finished_
  absl::Status failure;
  uint64_t bytes = 0;
};

namespace {

// The part of a segment that is checksummed. Consecutive ids and pairs take
// consecutive stripes.
std::span<const std::byte> Stripe(std::span<const std::byte> segment,
                                  TransferId id, uint32_t pair,
                                  uint32_t share) {
  const size_t length = (segment.size() + share - 1) / share;
  const size_t begin = (id.value() + pair) % share * length;
  // Rounding up may leave the last stripes nothing: they take the end.
  const size_t last = segment.size() - length;
  return segment.subspan(std::min(begin, last), length);
}

}  // namespace

CopyTransport::CopyTransport(CopyTransportOptions options)
    : options_(std::move(options)) {
  BRAID_CHECK(options_.movers > 0 && options_.checked_share > 0);
  for (uint32_t i = 0; i < options_.movers; ++i) {
    movers_.emplace_back([this] { RunMover(); });
  }
}

CopyTransport::~CopyTransport() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    queue_.clear();
    for (auto& [id, transfer] : transfers_) transfer->stopped = true;
  }
  work_.notify_all();
  for (std::thread& mover : movers_) mover.join();
}

absl::Status CopyTransport::RegisterPool(PoolId pool, const KvArena& arena) {
  return pools_.Add(pool, arena);
}

absl::Status CopyTransport::Open(const TransferSpec& spec) {
  BRAID_RETURN_IF_ERROR(pools_.Validate(spec));
  if (transfers_.contains(spec.id)) return DuplicateTransferError(spec.id);
  if (transfers_.size() >= options_.common.max_in_flight) {
    return TooManyTransfersError(options_.common.max_in_flight);
  }
  const KvArena& source = pools_.arena(spec.source);
  const KvArena& destination = pools_.arena(spec.destination);
  for (const BlockPair& pair : spec.pairs) {
    BRAID_CHECK(source.block(pair.source) !=
                destination.block(pair.destination));
  }
  auto owned = std::make_unique<Transfer>(spec, source, destination);
  Transfer& transfer = *owned;
  transfers_.emplace(spec.id, std::move(owned));
  bool finished = false;
  {
    std::lock_guard lock(mutex_);
    transfer.covered = transfer.coverage.complete();
    finished = FinishIfIdle(transfer);
  }
  if (finished) options_.common.wake();
  return absl::OkStatus();
}

void CopyTransport::Post(const TransferPiece& piece) {
  const auto it = transfers_.find(piece.id);
  if (it == transfers_.end()) {
    ++stats_.late_pieces_dropped;
    return;
  }
  Transfer& transfer = *it->second;
  bool finished = false;
  {
    std::lock_guard lock(mutex_);
    // A mover may have stopped it (damage), so this is asked under the lock.
    if (transfer.stopped || !transfer.coverage.Add(piece)) {
      ++stats_.late_pieces_dropped;
      return;
    }
    if (queue_.size() < options_.max_queued_pieces) {
      transfer.covered = transfer.coverage.complete();
      ++transfer.pieces_left;
      queue_.push_back({&transfer, piece});
    } else {
      transfer.failure = absl::ResourceExhaustedError(
          absl::StrCat(options_.max_queued_pieces,
                       " pieces of KV wait to be copied, the most this "
                       "transport takes; try again later"));
      Stop(transfer);
      finished = FinishIfIdle(transfer);
    }
  }
  work_.notify_one();
  if (finished) options_.common.wake();
}

void CopyTransport::Cancel(TransferId id) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end()) return;
  bool finished = false;
  {
    std::lock_guard lock(mutex_);
    if (it->second->finished) return;
    Stop(*it->second);
    finished = FinishIfIdle(*it->second);
  }
  if (finished) options_.common.wake();
}

void CopyTransport::Poll(std::vector<TransferEvent>& events) {
  using Outcome = TransferEvent::Outcome;
  {
    std::lock_guard lock(mutex_);
    reporting_.swap(finished_);
  }
  // No mover knows these any more.
  for (Transfer* transfer : reporting_) {
    TransferEvent event{.id = transfer->spec.id, .bytes = transfer->bytes};
    stats_.bytes_moved += event.bytes;
    if (!transfer->failure.ok()) {
      event.outcome = Outcome::kFailed;
      event.status = std::move(transfer->failure);
      ++stats_.transfers_failed;
    } else if (transfer->stopped) {
      event.outcome = Outcome::kCancelled;
      ++stats_.transfers_cancelled;
    } else {
      ++stats_.transfers_completed;
    }
    transfers_.erase(event.id);
    events.push_back(std::move(event));
  }
  reporting_.clear();
}

void CopyTransport::RunMover() {
  std::vector<uint64_t> sums;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (closing_) return;
    const Job job = queue_.front();
    queue_.pop_front();
    lock.unlock();
    Moved moved = Move(job, sums);
    lock.lock();
    Transfer& transfer = *job.transfer;
    --transfer.pieces_left;
    transfer.bytes += moved.bytes;
    if (!moved.status.ok() && transfer.failure.ok()) {
      transfer.failure = std::move(moved.status);
      Stop(transfer);
    }
    if (FinishIfIdle(transfer)) {
      lock.unlock();
      options_.common.wake();
      lock.lock();
    }
  }
}

CopyTransport::Moved CopyTransport::Move(const Job& job,
                                         std::vector<uint64_t>& sums) const {
  const Transfer& transfer = *job.transfer;
  const TransferPiece& piece = job.piece;
  const auto from = [&](uint32_t pair) {
    return transfer.source.layers(transfer.spec.pairs[pair].source,
                                  piece.first_layer, piece.end_layer);
  };
  const auto to = [&](uint32_t pair) {
    return transfer.destination.layers(transfer.spec.pairs[pair].destination,
                                       piece.first_layer, piece.end_layer);
  };
  const auto sum = [&](std::span<const std::byte> segment, uint32_t pair) {
    return Hash64(Stripe(segment, piece.id, pair, options_.checked_share));
  };
  Moved moved;
  sums.clear();
  for (uint32_t pair = piece.first_pair; pair < piece.end_pair; ++pair) {
    if (transfer.stopped) return moved;
    sums.push_back(sum(from(pair), pair));
    StreamCopy(to(pair), from(pair));
    moved.bytes += to(pair).size();
  }
  for (uint32_t pair = piece.first_pair; pair < piece.end_pair; ++pair) {
    if (sum(to(pair), pair) == sums[pair - piece.first_pair]) continue;
    const BlockPair& blocks = transfer.spec.pairs[pair];
    moved.status = absl::DataLossError(absl::StrCat(
        "KV block ", blocks.source.value(), " of pool ",
        transfer.spec.source.value(), " differs from its copy in block ",
        blocks.destination.value(), " of pool ",
        transfer.spec.destination.value(), ", layers ", piece.first_layer,
        " to ", piece.end_layer));
    break;
  }
  return moved;
}

void CopyTransport::Stop(Transfer& transfer) {
  transfer.stopped = true;
  transfer.pieces_left -= static_cast<uint32_t>(std::erase_if(
      queue_, [&](const Job& job) { return job.transfer == &transfer; }));
}

bool CopyTransport::FinishIfIdle(Transfer& transfer) {
  if (transfer.finished || transfer.pieces_left > 0) return false;
  if (!transfer.covered && !transfer.stopped) return false;
  transfer.finished = true;
  finished_.push_back(&transfer);
  return true;
}

}  // namespace braid
