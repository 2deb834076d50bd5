#include "tests/support/hand_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace braid {

absl::Status HandTransport::RegisterPool(PoolId pool, const KvArena& arena) {
  arenas_.emplace(pool, &arena);
  return absl::OkStatus();
}

absl::Status HandTransport::Open(const TransferSpec& spec) {
  if (refuse_opens_ > 0) {
    --refuse_opens_;
    return absl::ResourceExhaustedError("refused by the test");
  }
  const uint64_t layers =
      arenas_.at(spec.source)->layout().layers - spec.first_layer;
  open_.push_back({.spec = spec, .missing = spec.pairs.size() * layers});
  return absl::OkStatus();
}

void HandTransport::Post(const TransferPiece& piece) {
  ++pieces_posted_;
  const auto it = std::ranges::find(
      open_, piece.id, [](const Transfer& t) { return t.spec.id; });
  if (it == open_.end() || it->cancelled) {
    ++stats_.late_pieces_dropped;
    return;
  }
  it->pieces.push_back(piece);
}

void HandTransport::Cancel(TransferId id) {
  for (Transfer& transfer : open_) {
    if (transfer.spec.id == id) transfer.cancelled = true;
  }
}

void HandTransport::Poll(std::vector<TransferEvent>& events) {
  for (TransferEvent& event : ended_) events.push_back(std::move(event));
  ended_.clear();
}

bool HandTransport::Step(Rng& rng, double failure_probability) {
  if (open_.empty()) return false;
  Transfer& transfer = open_[rng.Below(open_.size())];
  const TransferId id = transfer.spec.id;
  // A piece that was on its way when the transfer was cancelled may still be
  // written: until the terminal event.
  if (transfer.cancelled && (transfer.pieces.empty() || rng.Below(2) == 0)) {
    End(id, TransferEvent::Outcome::kCancelled);
    return true;
  }
  if (!transfer.cancelled && rng.Uniform() < failure_probability) {
    End(id, TransferEvent::Outcome::kFailed);
    return true;
  }
  if (!transfer.pieces.empty()) {
    const size_t index = rng.Below(transfer.pieces.size());
    const TransferPiece piece = transfer.pieces[index];
    transfer.pieces.erase(transfer.pieces.begin() +
                          static_cast<std::ptrdiff_t>(index));
    for (uint32_t i = piece.first_pair; i < piece.end_pair; ++i) {
      const BlockPair pair = transfer.spec.pairs[i];
      const auto from =
          arenas_.at(transfer.spec.source)
              ->layers(pair.source, piece.first_layer, piece.end_layer);
      const auto to =
          arenas_.at(transfer.spec.destination)
              ->layers(pair.destination, piece.first_layer, piece.end_layer);
      if (from.data() != to.data()) {
        std::memcpy(to.data(), from.data(), from.size());
        stats_.bytes_moved += from.size();
      }
    }
    const uint64_t moved = uint64_t{piece.end_pair - piece.first_pair} *
                           (piece.end_layer - piece.first_layer);
    BRAID_CHECK_MSG(moved <= transfer.missing, "a piece was posted twice");
    transfer.missing -= moved;
    return true;
  }
  if (transfer.missing > 0) return false;
  End(id, TransferEvent::Outcome::kComplete);
  return true;
}

void HandTransport::End(TransferId id, TransferEvent::Outcome outcome) {
  std::erase_if(open_, [&](const Transfer& t) { return t.spec.id == id; });
  TransferEvent event{.id = id, .outcome = outcome};
  switch (outcome) {
    case TransferEvent::Outcome::kComplete:
      ++stats_.transfers_completed;
      break;
    case TransferEvent::Outcome::kFailed:
      ++stats_.transfers_failed;
      event.status = failure_;
      break;
    case TransferEvent::Outcome::kCancelled:
      ++stats_.transfers_cancelled;
      break;
  }
  ended_.push_back(std::move(event));
  wake_();
}

}  // namespace braid
