#include "engine/kv_handoff.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace braid {

KvHandoff::KvHandoff(KvTransport* transport, const KvLayout& layout)
    : transport_(transport), layout_(layout) {}

absl::Status KvHandoff::Open(const Request& request, BlockPool& source,
                             BlockPool& destination) {
  const bool same_pool = &source == &destination;
  const uint32_t prompt_blocks = layout_.BlocksFor(request.prefill_size);
  const TransferId id(next_id_++);
  Transfer transfer{.request = request.id,
                    .moves_bytes = !same_pool,
                    .source = &source,
                    .destination = destination.id(),
                    .first_block = request.landing_cached};
  TransferSpec spec{
      .id = id, .source = source.id(), .destination = destination.id()};
  std::vector<BlockId> landing;
  for (uint32_t i = transfer.first_block; i < prompt_blocks; ++i) {
    const BlockId from = request.blocks.blocks()[i];
    const BlockId to = same_pool ? from : request.landing.blocks()[i];
    spec.pairs.push_back({from, to});
    transfer.blocks.push_back(from);
    landing.push_back(to);
  }
  if (spec.pairs.empty()) {  // All of the prompt is cached where it decodes.
    nothing_to_move_.push_back({request.id, CatchUpId(), source.id(),
                                destination.id(), absl::OkStatus()});
    return absl::OkStatus();
  }
  if (!same_pool) transfer.receiving = destination.BeginReceive(landing);
  BRAID_RETURN_IF_ERROR(transport_->Open(spec));
  by_request_.emplace(request.id, id);
  transfers_.emplace(id, std::move(transfer));
  ChunkDone(request, request.computed);
  return absl::OkStatus();
}

void KvHandoff::ChunkDone(const Request& request, uint32_t end) {
  TransferId id;
  Transfer* transfer = Find(request.id, &id);
  if (transfer == nullptr) return;
  // A block that the next chunk writes to is not final, unless there is none.
  const uint32_t final_blocks = end >= request.prefill_size
                                    ? layout_.BlocksFor(request.prefill_size)
                                    : end / layout_.block_tokens;
  if (final_blocks <= transfer->first_block) return;
  PostBlocks(id, *transfer, final_blocks - transfer->first_block);
}

void KvHandoff::Progress(const Request& request, uint32_t layers) {
  TransferId id;
  Transfer* transfer = Find(request.id, &id);
  if (transfer == nullptr || layers <= transfer->layers) return;
  const auto end_pair = static_cast<uint32_t>(transfer->blocks.size());
  if (transfer->posted == end_pair) return;
  Lease(*transfer, end_pair);
  transport_->Post({.id = id,
                    .first_pair = transfer->posted,
                    .end_pair = end_pair,
                    .first_layer = transfer->layers,
                    .end_layer = layers});
  transfer->layers = layers;
  if (layers == layout_.layers) transfer->posted = end_pair;
}

absl::Status KvHandoff::Send(const StreamCatchUp& catch_up) {
  BlockPool& source = *catch_up.blocks.pool();
  BlockPool& destination = *catch_up.landing.pool();
  const TransferId id(next_id_++);
  TransferSpec spec{.id = id,
                    .source = source.id(),
                    .destination = destination.id(),
                    .first_layer = 1};
  for (uint32_t i = 0; i < catch_up.sending; ++i) {
    spec.pairs.push_back({catch_up.source()[i], catch_up.destination()[i]});
  }
  Transfer transfer{
      .request = catch_up.request,
      .catch_up = catch_up.id,
      .moves_bytes = true,
      .source = &source,
      .destination = destination.id(),
      .sending = source.BeginSend(catch_up.source()),
      .receiving = destination.BeginReceive(catch_up.destination())};
  BRAID_RETURN_IF_ERROR(transport_->Open(spec));
  const bool fresh = by_catch_up_.emplace(catch_up.id, id).second;
  BRAID_CHECK(fresh);
  transfers_.emplace(id, std::move(transfer));
  transport_->Post({.id = id,
                    .first_pair = 0,
                    .end_pair = catch_up.sending,
                    .first_layer = spec.first_layer,
                    .end_layer = layout_.layers});
  return absl::OkStatus();
}

void KvHandoff::AbandonSend(CatchUpId catch_up) {
  const auto it = by_catch_up_.find(catch_up);
  if (it == by_catch_up_.end()) return;
  const TransferId id = it->second;
  transfers_.at(id).abandoned = true;
  by_catch_up_.erase(it);
  transport_->Cancel(id);
}

bool KvHandoff::streams(RequestId request) const {
  const auto it = by_request_.find(request);
  return it != by_request_.end() && transfers_.at(it->second).moves_bytes;
}

void KvHandoff::Abandon(RequestId request) {
  std::erase_if(nothing_to_move_, [request](const HandoffEvent& event) {
    return event.request == request;
  });
  TransferId id;
  Transfer* transfer = Find(request, &id);
  if (transfer == nullptr) return;
  transfer->abandoned = true;
  by_request_.erase(request);
  transport_->Cancel(id);
}

void KvHandoff::Poll(std::vector<HandoffEvent>& events) {
  for (HandoffEvent& event : nothing_to_move_) {
    events.push_back(std::move(event));
  }
  nothing_to_move_.clear();
  events_.clear();
  transport_->Poll(events_);
  for (TransferEvent& event : events_) {
    const auto it = transfers_.find(event.id);
    BRAID_CHECK_MSG(it != transfers_.end(), "a second terminal event");
    const Transfer& transfer = it->second;
    if (!transfer.abandoned) {
      if (transfer.catch_up == CatchUpId()) {
        by_request_.erase(transfer.request);
      } else {
        by_catch_up_.erase(transfer.catch_up);
      }
      absl::Status status = std::move(event.status);
      if (event.outcome == TransferEvent::Outcome::kComplete) {
        status = absl::OkStatus();
      } else if (status.ok()) {
        status = absl::UnavailableError("the KV transfer was given up");
      }
      events.push_back({transfer.request, transfer.catch_up,
                        transfer.source->id(), transfer.destination,
                        std::move(status)});
    }
    transfers_.erase(it);  // The leases end here.
  }
}

KvHandoff::Transfer* KvHandoff::Find(RequestId request, TransferId* id) {
  const auto it = by_request_.find(request);
  if (it == by_request_.end()) return nullptr;
  *id = it->second;
  return &transfers_.at(it->second);
}

void KvHandoff::Lease(Transfer& transfer, uint32_t end_pair) {
  if (end_pair <= transfer.leased) return;
  transfer.sending.Merge(transfer.source->BeginSend(
      std::span(transfer.blocks).first(end_pair).subspan(transfer.leased)));
  transfer.leased = end_pair;
}

void KvHandoff::PostBlocks(TransferId id, Transfer& transfer,
                           uint32_t end_pair) {
  end_pair = std::min(end_pair, static_cast<uint32_t>(transfer.blocks.size()));
  if (end_pair <= transfer.posted) return;
  Lease(transfer, end_pair);
  transport_->Post({.id = id,
                    .first_pair = transfer.posted,
                    .end_pair = end_pair,
                    .first_layer = transfer.layers,
                    .end_layer = layout_.layers});
  transfer.posted = end_pair;
}

}  // namespace braid
