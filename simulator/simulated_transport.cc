#include "simulator/simulated_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash.h"
#include "base/status_macros.h"

namespace braid {

struct SimulatedTransport::Transfer {
  Transfer(const TransferSpec& spec_in, uint32_t layers)
      : spec(spec_in),
        coverage(static_cast<uint32_t>(spec.pairs.size()), layers,
                 spec.first_layer) {}

  const TransferSpec spec;
  TransferCoverage coverage;
  uint32_t sent = 0;          // messages
  std::vector<bool> arrived;  // by message number
  uint32_t missing = 0;       // sent, not arrived
  uint64_t bytes = 0;
  TimePoint progress;  // last one
  bool watched = false;
  bool stopping = false;  // cancelled; its terminal event will come
  bool finished = false;  // its terminal event is on its way
  bool reported = false;  // it is in ended_
  Outcome outcome = Outcome::kComplete;
  absl::Status status;
  // What has landed, and the hash it had.
  std::vector<std::pair<TransferPiece, uint64_t>> landed;
};

namespace {

// The part of a message that is checksummed: a stripe that follows from the
// transfer's id and the message's number, so in time every byte has its turn.
std::span<std::byte> Sample(std::span<std::byte> bytes, TransferId id,
                            uint32_t number, uint32_t share) {
  const size_t length = (bytes.size() + share - 1) / share;
  const size_t begin = (id.value() + number) % share * length;
  return bytes.subspan(std::min(begin, bytes.size() - length), length);
}

}  // namespace

SimulatedTransport::SimulatedTransport(SimulatedTransportOptions options,
                                       World& world)
    : options_(std::move(options)), world_(world), events_(world.queue) {}

SimulatedTransport::~SimulatedTransport() = default;

absl::Status SimulatedTransport::RegisterPool(PoolId pool,
                                              const KvArena& arena) {
  return pools_.Add(pool, arena);
}

absl::Status SimulatedTransport::Open(const TransferSpec& spec) {
  BRAID_RETURN_IF_ERROR(pools_.Validate(spec));
  if (transfers_.contains(spec.id)) return DuplicateTransferError(spec.id);
  if (transfers_.size() >= options_.common.max_in_flight) {
    return TooManyTransfersError(options_.common.max_in_flight);
  }
  if (!options_.reachable(spec.source) ||
      !options_.reachable(spec.destination) ||
      world_.faults.Happens(FaultKind::kOpenRefused, 0.05)) {
    Log(LogKind::kOpenRefused, spec.id);
    return absl::UnavailableError("no way between the two pools");
  }
  Log(LogKind::kOpen, spec.id, static_cast<int64_t>(spec.pairs.size()));
  const uint32_t layers = pools_.arena(spec.source).layout().layers;
  auto owned = std::make_unique<Transfer>(spec, layers);
  Transfer& transfer = *owned;
  transfers_.emplace(spec.id, std::move(owned));
  open_order_.push_back(spec.id);
  if (transfer.coverage.complete()) {
    Finish(transfer, Outcome::kComplete, absl::OkStatus());
  } else if (world_.faults.Happens(FaultKind::kTransferFailure, 0.05)) {
    const auto when = std::chrono::microseconds(
        world_.faults.Below(FaultKind::kTransferFailure, 40'000));
    events_.After(when, [this, id = spec.id] {
      Transfer* broken = Find(id);
      if (broken == nullptr || broken->stopping) return;
      Finish(*broken, Outcome::kFailed,
             absl::UnavailableError("the connection broke"));
    });
  }
  return absl::OkStatus();
}

void SimulatedTransport::Post(const TransferPiece& piece) {
  Transfer* transfer = Find(piece.id);
  if (transfer == nullptr || transfer->stopping || transfer->finished ||
      !transfer->coverage.Add(piece)) {
    ++stats_.late_pieces_dropped;
    return;
  }
  Log(LogKind::kPost, piece.id, piece.first_pair, piece.end_pair);
  const uint32_t step = options_.blocks_per_message;
  for (uint32_t i = piece.first_pair; i < piece.end_pair; i += step) {
    TransferPiece part = piece;
    part.first_pair = i;
    part.end_pair = std::min(i + step, piece.end_pair);
    Send(*transfer, part);
  }
}

void SimulatedTransport::Send(Transfer& transfer, const TransferPiece& piece) {
  auto message = std::make_shared<Message>();
  message->piece = piece;
  message->number = transfer.sent++;
  transfer.arrived.push_back(false);
  ++transfer.missing;
  if (transfer.spec.source == transfer.spec.destination) {
    events_.After(Latency(), [this, message] {
      if (Transfer* live = Find(message->piece.id)) Arrived(*live, *message);
    });
    return;
  }
  message->posted_hash = HashOf(transfer, piece, /*source=*/true);
  const size_t bytes =
      size_t{piece.end_pair - piece.first_pair} *
      (piece.end_layer - piece.first_layer) *
      pools_.arena(transfer.spec.source).layout().layer_bytes();
  Watch(transfer);
  LinkOf(transfer.spec.source).Send(bytes, [this, message] { Leave(message); });
}

// The last byte leaves: only now is the source memory read.
void SimulatedTransport::Leave(std::shared_ptr<Message> message) {
  const TransferId id = message->piece.id;
  Transfer* transfer = Find(id);
  if (transfer == nullptr || transfer->finished) return;
  Log(LogKind::kSend, id, message->number);
  transfer->progress = events_.now();
  if (HashOf(*transfer, message->piece, /*source=*/true) !=
      message->posted_hash) {
    world_.log.Violate(absl::StrCat(
        "node ", options_.node, ": transfer ", id.value(), ", blocks ",
        message->piece.first_pair, " to ", message->piece.end_pair,
        ": posted KV has changed before it was sent"));
  }
  const KvArena& arena = pools_.arena(transfer->spec.source);
  ForEachSpan(arena, transfer->spec, message->piece, /*source=*/true,
              [&](std::span<std::byte> bytes) {
                message->bytes.insert(message->bytes.end(), bytes.begin(),
                                      bytes.end());
              });
  const std::span<std::byte> sample =
      Sample(message->bytes, id, message->number, options_.checked_share);
  message->checksum = Hash64(sample);
  FaultSource& faults = world_.faults;
  if (faults.Happens(FaultKind::kByteFlip, 0.01)) {
    // Where the sample looks: what it cannot see, nobody could.
    sample[faults.Below(FaultKind::kByteFlip, sample.size())] ^=
        std::byte(1 + faults.Below(FaultKind::kByteFlip, 255));
    Log(LogKind::kFlipped, id, message->number);
  }
  Duration latency = Latency();
  if (faults.Happens(FaultKind::kMessageDelay, 0.02)) {
    latency += std::chrono::microseconds(
        faults.Below(FaultKind::kMessageDelay, 200'000));
  }
  if (faults.Happens(FaultKind::kMessageReorder, 0.05)) {
    latency +=
        options_.latency * (1 + faults.Below(FaultKind::kMessageReorder, 20));
  }
  if (faults.Happens(FaultKind::kMessageDuplicate, 0.03)) {
    Log(LogKind::kDuplicated, id, message->number);
    events_.After(latency + std::chrono::microseconds(faults.Below(
                                FaultKind::kMessageDuplicate, 100'000)),
                  [this, message] { Deliver(message); });
  }
  if (faults.Happens(FaultKind::kMessageLoss, 0.01)) {
    Log(LogKind::kLost, id, message->number);
    return;
  }
  events_.After(latency, [this, message] { Deliver(message); });
}

void SimulatedTransport::Deliver(std::shared_ptr<Message> message) {
  const TransferId id = message->piece.id;
  Transfer* transfer = Find(id);
  if (transfer == nullptr || transfer->finished ||
      transfer->arrived[message->number]) {
    Log(LogKind::kLateDropped, id, message->number);
    return;
  }
  Log(LogKind::kDelivered, id, message->number);
  CheckAwaited(*transfer, message->piece);
  const uint64_t checksum = Hash64(
      Sample(message->bytes, id, message->number, options_.checked_share));
  size_t offset = 0;
  const KvArena& arena = pools_.arena(transfer->spec.destination);
  ForEachSpan(arena, transfer->spec, message->piece, /*source=*/false,
              [&](std::span<std::byte> bytes) {
                std::memcpy(bytes.data(), message->bytes.data() + offset,
                            bytes.size());
                offset += bytes.size();
              });
  transfer->bytes += offset;
  if (checksum != message->checksum) {
    Finish(*transfer, Outcome::kFailed,
           absl::DataLossError(absl::StrCat("KV of transfer ", id.value(),
                                            ", message ", message->number,
                                            ", differs from what was sent")));
    return;
  }
  transfer->landed.emplace_back(
      message->piece, HashOf(*transfer, message->piece, /*source=*/false));
  Arrived(*transfer, *message);
}

void SimulatedTransport::Arrived(Transfer& transfer, const Message& message) {
  transfer.arrived[message.number] = true;
  transfer.progress = events_.now();
  --transfer.missing;
  if (transfer.missing > 0 || !transfer.coverage.complete()) return;
  if (transfer.finished || transfer.stopping) return;
  CheckLanded(transfer);
  Finish(transfer, Outcome::kComplete, absl::OkStatus());
}

void SimulatedTransport::CheckAwaited(const Transfer& transfer,
                                      const TransferPiece& piece) {
  const TransferSpec& spec = transfer.spec;
  for (uint32_t i = piece.first_pair; i < piece.end_pair; ++i) {
    const BlockId block = spec.pairs[i].destination;
    if (options_.awaited(spec.destination, block)) continue;
    world_.log.Violate(absl::StrCat(
        "node ", options_.node, ": transfer ", spec.id.value(),
        " writes into block ", block.value(), " of pool ",
        spec.destination.value(), ", which is not its own any more"));
  }
}

void SimulatedTransport::CheckLanded(const Transfer& transfer) {
  for (const auto& [piece, hash] : transfer.landed) {
    if (HashOf(transfer, piece, /*source=*/false) == hash) continue;
    world_.log.Violate(absl::StrCat(
        "node ", options_.node, ": transfer ", transfer.spec.id.value(),
        ", blocks ", piece.first_pair, " to ", piece.end_pair,
        ": KV that has arrived was overwritten before the transfer's end"));
  }
}

void SimulatedTransport::Cancel(TransferId id) {
  Transfer* transfer = Find(id);
  if (transfer == nullptr || transfer->stopping || transfer->finished) return;
  Log(LogKind::kTransferCancel, id);
  transfer->stopping = true;
  // What is on its way may still be written until the terminal event.
  events_.After(Latency() + Latency(), [this, id] {
    Transfer* stopped = Find(id);
    if (stopped == nullptr || stopped->finished) return;
    Finish(*stopped, Outcome::kCancelled, absl::OkStatus());
  });
}

void SimulatedTransport::Finish(Transfer& transfer, Outcome outcome,
                                absl::Status status) {
  if (transfer.finished) return;
  transfer.finished = true;
  transfer.outcome = outcome;
  transfer.status = std::move(status);
  const TransferId id = transfer.spec.id;
  if (world_.faults.Happens(FaultKind::kLateCompletion, 0.05)) {
    events_.After(std::chrono::microseconds(
                      world_.faults.Below(FaultKind::kLateCompletion, 50'000)),
                  [this, id] { End(id); });
    return;
  }
  End(id);
}

void SimulatedTransport::End(TransferId id) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end() || it->second->reported) return;
  Transfer& transfer = *it->second;
  transfer.reported = true;
  if (transfer.outcome == Outcome::kComplete) CheckLanded(transfer);
  Log(LogKind::kTransferEnd, id, static_cast<int64_t>(transfer.outcome));
  ended_.push_back({.id = id,
                    .outcome = transfer.outcome,
                    .status = transfer.status,
                    .bytes = transfer.bytes});
  options_.common.wake();
  if (world_.faults.Happens(FaultKind::kDuplicateCompletion, 0.05)) {
    events_.After(std::chrono::microseconds(world_.faults.Below(
                      FaultKind::kDuplicateCompletion, 1000)),
                  [this] { options_.common.wake(); });
  }
}

void SimulatedTransport::Poll(std::vector<TransferEvent>& events) {
  for (TransferEvent& event : ended_) {
    switch (event.outcome) {
      case Outcome::kComplete:
        ++stats_.transfers_completed;
        break;
      case Outcome::kFailed:
        ++stats_.transfers_failed;
        break;
      case Outcome::kCancelled:
        ++stats_.transfers_cancelled;
        break;
    }
    stats_.bytes_moved += event.bytes;
    transfers_.erase(event.id);
    std::erase(open_order_, event.id);
    events.push_back(std::move(event));
  }
  ended_.clear();
}

void SimulatedTransport::FailPool(PoolId pool) {
  for (TransferId id : open_order_) {
    Transfer& transfer = *transfers_.at(id);
    if (transfer.spec.source != pool && transfer.spec.destination != pool) {
      continue;
    }
    transfer.landed.clear();  // The memory is gone with the device.
    Finish(transfer, Outcome::kFailed,
           absl::UnavailableError("the device of a pool is lost"));
  }
}

void SimulatedTransport::AbortAll() {
  for (TransferId id : open_order_) {
    Transfer& transfer = *transfers_.at(id);
    if (transfer.reported) continue;
    if (!transfer.finished) {
      transfer.finished = true;
      transfer.outcome = Outcome::kCancelled;
    }
    transfer.landed.clear();
    End(id);
  }
}

// Messages that never arrive: the transfer fails when nothing has moved for
// the length of the timeout.
void SimulatedTransport::Watch(Transfer& transfer) {
  transfer.progress = events_.now();
  if (transfer.watched) return;
  transfer.watched = true;
  events_.After(options_.timeout, [this, id = transfer.spec.id] {
    Transfer* watched = Find(id);
    if (watched == nullptr || watched->finished) return;
    watched->watched = false;
    if (watched->missing == 0) return;
    const Duration idle = events_.now() - watched->progress;
    if (idle >= options_.timeout) {
      Finish(*watched, Outcome::kFailed,
             absl::UnavailableError(
                 absl::StrCat("transfer ", id.value(), " made no progress for ",
                              ToSeconds(options_.timeout), " s")));
      return;
    }
    const TimePoint progress = watched->progress;
    Watch(*watched);
    watched->progress = progress;
  });
}

SimulatedTransport::Transfer* SimulatedTransport::Find(TransferId id) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end() || it->second->reported) return nullptr;
  return it->second.get();
}

FairLink& SimulatedTransport::LinkOf(PoolId pool) {
  std::unique_ptr<FairLink>& link = links_[pool];
  if (link == nullptr) {
    link = std::make_unique<FairLink>(world_.queue, options_.bytes_per_second);
  }
  return *link;
}

Duration SimulatedTransport::Latency() {
  const double spread = 0.5 + world_.rng.Uniform();
  return std::chrono::nanoseconds(static_cast<int64_t>(
      static_cast<double>(options_.latency.count()) * spread));
}

template <typename Visit>
void SimulatedTransport::ForEachSpan(const KvArena& arena,
                                     const TransferSpec& spec,
                                     const TransferPiece& piece, bool source,
                                     Visit visit) const {
  for (uint32_t i = piece.first_pair; i < piece.end_pair; ++i) {
    const BlockPair& pair = spec.pairs[i];
    visit(arena.layers(source ? pair.source : pair.destination,
                       piece.first_layer, piece.end_layer));
  }
}

uint64_t SimulatedTransport::HashOf(const Transfer& transfer,
                                    const TransferPiece& piece,
                                    bool source) const {
  const KvArena& arena =
      pools_.arena(source ? transfer.spec.source : transfer.spec.destination);
  uint64_t hash = 0;
  ForEachSpan(arena, transfer.spec, piece, source,
              [&](std::span<std::byte> bytes) { hash = Hash64(bytes, hash); });
  return hash;
}

}  // namespace braid
