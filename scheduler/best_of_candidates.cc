#include "scheduler/best_of_candidates.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/request_keys.h"

namespace braid {

void BestOfCandidates::Open(Request& request) {
  if (request.candidates.empty()) return;
  DeviceState& own = state_.Device(request.decode_device);
  ++own.elastic;
  ++own.best_of;
}

void BestOfCandidates::Close(Request& request) {
  const bool lingers = request.state == RequestState::kLingering;
  if (request.candidates.empty() ||
      (!lingers && request.state != RequestState::kDecoding)) {
    return;
  }
  DeviceState& own = state_.Device(request.decode_device);
  --own.elastic;
  --own.best_of;
  if (lingers) {
    own.lingering.erase(std::ranges::find(own.lingering, &request));
  }
  DropAll(request);
}

void BestOfCandidates::DropAll(Request& request) {
  for (BestOfCandidate& one : request.candidates) {
    if (!one.in_flight) Drop(one);
  }
}

void BestOfCandidates::Drop(BestOfCandidate& one) {
  if (!one.holds()) return;
  state_.PoolOf(one.blocks).Release(one.own_blocks());
  state_.best_of_stats.blocks -= static_cast<uint32_t>(one.own_blocks().size());
  one.blocks = BlockTable();
  one.shared = one.computed = 0;
}

void BestOfCandidates::ApplyDrops(const StepPlan& plan) {
  for (const CandidateDrop& drop : plan.candidates_dropped) {
    Request& request = state_.requests.at(drop.slot);
    BestOfCandidate& one = request.candidates[drop.candidate - 1];
    BRAID_CHECK(request.id == drop.request && one.holds() && !one.in_flight);
    Drop(one);
    ++state_.best_of_stats.evicted;
    state_.Log(DecisionKind::kStreams, "candidate-blocks-wanted", request,
               drop.candidate, 0);
  }
}

void BestOfCandidates::Apply(DeviceState& own, Request& request,
                             const PlannedRows& rows) {
  BestOfCandidate& one = request.candidates[rows.stream - 1];
  BRAID_CHECK(request.id == rows.request && !one.in_flight && !one.complete);
  if (!one.holds()) {
    // The request decodes, so it has all of its prompt's KV.
    if (one.tokens.empty()) {
      one.tokens.reserve(request.tokens.capacity());
      one.tokens.assign(request.prompt().begin(), request.prompt().end());
      ++state_.best_of_stats.started;
    }
    one.shared = request.candidates_share(state_.config.block_tokens);
    KvPool& pool = state_.PoolOf(request.blocks);
    one.blocks = pool.blocks().Share(request.blocks.blocks().first(one.shared));
    one.blocks.Expect(state_.BlocksFor(request.positions()));
    one.computed = one.shared * state_.config.block_tokens;
  }
  BRAID_CHECK(one.computed == rows.first);
  one.in_flight = true;
  // A request that lingers has no row of its own.
  request.in_flight = true;
  state_.best_of_stats.blocks +=
      state_.PoolOf(one.blocks)
          .Grow(one.blocks, state_.BlocksFor(rows.first + rows.count));
  own.elastic_rows += rows.count;
  own.pinned += static_cast<uint32_t>(one.own_blocks().size());
  state_.best_of_stats.filled += rows.draws;
  state_.best_of_stats.caught_up += rows.count - rows.draws;
}

void BestOfCandidates::Commit(Request& request, const PlannedRows& rows,
                              std::optional<TokenId> drawn, bool failed,
                              bool gave_way) {
  BestOfCandidate& one = request.candidates[rows.stream - 1];
  BRAID_CHECK(request.id == rows.request && one.in_flight);
  one.in_flight = false;
  if (failed || request.state == RequestState::kFinished) {
    Drop(one);
    return;
  }
  if (gave_way) return;
  BRAID_CHECK(drawn.has_value() == rows.draws);
  one.computed = rows.first + rows.count;
  if (!drawn) return;
  one.tokens.push_back(*drawn);
  BRAID_CHECK(one.tokens.size() <= request.prompt_size + request.max_output);
}

void BestOfCandidates::Complete(Request& request, uint32_t candidate,
                                bool leads) {
  BestOfCandidate& one = request.candidates[candidate - 1];
  BRAID_CHECK(!one.complete && !one.in_flight && !one.tokens.empty());
  if (leads) {
    for (BestOfCandidate& other : request.candidates) {
      if (other.complete) Drop(other);
    }
  } else {
    Drop(one);
  }
  one.complete = true;
}

void BestOfCandidates::Publish(const Request& request, BestOfCandidate& one) {
  BRAID_CHECK(one.complete && !one.in_flight);
  if (!one.holds() || !state_.config.prefix_cache) return;
  BlockTable table = std::move(one.blocks);
  one.blocks = BlockTable();
  const std::span computed = std::span(one.tokens).first(one.computed);
  KvPool& pool = state_.PoolOf(table);
  const auto own = table.blocks().subspan(one.shared);
  pool.Release(own);
  state_.best_of_stats.blocks -= static_cast<uint32_t>(own.size());
  one.shared = one.computed = 0;
  PrefixKeys keys = KeysOf(state_.config, request, 0);
  keys.Extend(computed);
  pool.index().Publish(keys, computed, table);
}

void BestOfCandidates::GiveWayTo(const Request& newcomer) {
  for (DeviceState& device : state_.devices) {
    if (device.lingering.empty() ||
        state_.PoolOf(device.config.pool).available() >=
            state_.PromisedBlocks(device.config.pool) +
                state_.BlocksOf(newcomer)) {
      continue;
    }
    for (Request* request : device.lingering) DropAll(*request);
  }
}

}  // namespace braid
