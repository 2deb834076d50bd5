#include "tests/support/faulty_kv_transport.h"

#include <utility>

#include "base/status_macros.h"

namespace braid {

FaultyKvTransport::FaultyKvTransport(std::unique_ptr<KvTransport> inner,
                                     TransportFaults faults,
                                     std::function<void()> wake)
    : inner_(std::move(inner)),
      faults_(faults),
      wake_(std::move(wake)),
      rng_(faults.seed) {}

absl::Status FaultyKvTransport::RegisterPool(PoolId pool,
                                             const KvArena& arena) {
  BRAID_RETURN_IF_ERROR(inner_->RegisterPool(pool, arena));
  arenas_.emplace(pool, &arena);
  return absl::OkStatus();
}

absl::Status FaultyKvTransport::Open(const TransferSpec& spec) {
  // The inner one forgets an id whose event is still held back here.
  if (transfers_.contains(spec.id)) {
    return absl::AlreadyExistsError("in flight behind a delayed event");
  }
  ++opens_;
  if (faults_.fail_open_every > 0 && opens_ % faults_.fail_open_every == 0) {
    return absl::UnavailableError("injected: the link is down");
  }
  BRAID_RETURN_IF_ERROR(inner_->Open(spec));
  transfers_.emplace(spec.id, Transfer{.spec = spec});
  return absl::OkStatus();
}

void FaultyKvTransport::Post(const TransferPiece& piece) {
  inner_->Post(piece);
  if (rng_.Uniform() >= faults_.repeat_probability) return;
  inner_->Post(piece);
  const auto it = transfers_.find(piece.id);
  if (it != transfers_.end()) it->second.repeats.push_back(piece);
}

void FaultyKvTransport::Cancel(TransferId id) { inner_->Cancel(id); }

void FaultyKvTransport::Poll(std::vector<TransferEvent>& events) {
  std::vector<TransferEvent> fresh;
  inner_->Poll(fresh);
  for (TransferEvent& event : fresh) {
    const auto polls =
        static_cast<uint32_t>(rng_.Below(faults_.max_delay_polls + 1));
    held_.push_back({std::move(event), polls});
  }
  std::vector<Held> later;
  for (Held& held : held_) {
    if (held.polls_left > 0) {
      --held.polls_left;
      later.push_back(std::move(held));
      continue;
    }
    const auto it = transfers_.find(held.event.id);
    for (const TransferPiece& piece : it->second.repeats) inner_->Post(piece);
    if (held.event.outcome == TransferEvent::Outcome::kComplete) {
      ++completions_;
      if (faults_.damage_every > 0 &&
          completions_ % faults_.damage_every == 0) {
        Damage(it->second.spec);
      }
    }
    transfers_.erase(it);
    events.push_back(std::move(held.event));
  }
  held_ = std::move(later);
  if (!held_.empty()) wake_();
}

void FaultyKvTransport::Damage(const TransferSpec& spec) {
  if (spec.pairs.empty()) return;
  const KvArena& arena = *arenas_.at(spec.destination);
  const BlockPair& pair = spec.pairs[rng_.Below(spec.pairs.size())];
  arena.block(pair.destination)[rng_.Below(arena.layout().block_bytes())] ^=
      std::byte{0x40};
}

}  // namespace braid
