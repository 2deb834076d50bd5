// What steps take of the blocks of best-of-n's candidates and leave in them,
// and how candidates come and go with their requests.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/request_keys.h"
#include "scheduler/scheduler.h"

namespace braid {

// It decodes from now on.
void Scheduler::OpenBestOf(Request& request) {
  if (request.candidates.empty()) return;
  DeviceState& own = state_.Device(request.decode_device);
  ++own.elastic;
  ++own.best_of;
}

// It does not any more, nor does it linger. What a step works on follows with
// its Commit.
void Scheduler::CloseBestOf(Request& request) {
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
  DropAllOf(request);
}

void Scheduler::DropAllOf(Request& request) {
  for (BestOfCandidate& one : request.candidates) {
    if (!one.in_flight) DropCandidate(one);
  }
}

void Scheduler::DropCandidate(BestOfCandidate& one) {
  if (!one.holds()) return;
  state_.PoolOf(one.blocks).Release(one.own_blocks());
  state_.best_of_stats.blocks -= static_cast<uint32_t>(one.own_blocks().size());
  one.blocks = BlockTable();
  one.shared = one.computed = 0;
}

void Scheduler::ApplyBestOfDrops(const StepPlan& plan) {
  for (const CandidateDrop& drop : plan.candidates_dropped) {
    Request& request = state_.requests.at(drop.slot);
    BestOfCandidate& one = request.candidates[drop.candidate - 1];
    BRAID_CHECK(request.id == drop.request && one.holds() && !one.in_flight);
    DropCandidate(one);
    ++state_.best_of_stats.evicted;
    state_.Log(DecisionKind::kStreams, "candidate-blocks-wanted", request,
               drop.candidate, 0);
  }
}

void Scheduler::ApplyCandidate(DeviceState& own, Request& request,
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

void Scheduler::CommitCandidate(Request& request, const PlannedRows& rows,
                                std::optional<TokenId> drawn, bool failed,
                                bool gave_way) {
  BestOfCandidate& one = request.candidates[rows.stream - 1];
  BRAID_CHECK(request.id == rows.request && one.in_flight);
  one.in_flight = false;
  if (failed || request.state == RequestState::kFinished) {
    DropCandidate(one);
    return;
  }
  if (gave_way) return;
  BRAID_CHECK(drawn.has_value() == rows.draws);
  one.computed = rows.first + rows.count;
  if (!drawn) return;
  one.tokens.push_back(*drawn);
  BRAID_CHECK(one.tokens.size() <= request.prompt_size + request.max_output);
}

void Scheduler::CompleteCandidate(RequestId id, uint32_t candidate,
                                  bool leads) {
  Request& request = *state_.requests.Find(id);
  BestOfCandidate& one = request.candidates[candidate - 1];
  BRAID_CHECK(!one.complete && !one.in_flight && !one.tokens.empty());
  if (leads) {
    for (BestOfCandidate& other : request.candidates) {
      if (other.complete) DropCandidate(other);
    }
  } else {
    DropCandidate(one);
  }
  one.complete = true;
}

// Its blocks are nobody's from here on, and cached.
void Scheduler::PublishCandidate(const Request& request, BestOfCandidate& one) {
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

void Scheduler::Linger(RequestId id, TimePoint now) {
  state_.now = now;
  Request& request = *state_.requests.Find(id);
  BRAID_CHECK(request.state == RequestState::kDecoding && !request.in_flight);
  BRAID_CHECK(!request.candidates.empty());
  Unlist(request);
  NoteAnswer(request);
  state_.MoveTo(request, RequestState::kLingering);
  // Its candidates share what they need of it.
  request.blocks = BlockTable();
  state_.Device(request.decode_device).lingering.push_back(&request);
}

// What a newcomer needs is not kept from it: it is judged by what is free. The
// prompts of those that linger are the only blocks that admission does not
// count as free, though it may have them.
void Scheduler::GiveWayTo(const Request& newcomer) {
  for (DeviceState& device : state_.devices) {
    if (device.lingering.empty() ||
        state_.PoolOf(device.config.pool).available() >=
            state_.PromisedBlocks(device.config.pool) +
                state_.BlocksOf(newcomer)) {
      continue;
    }
    for (Request* request : device.lingering) DropAllOf(*request);
  }
}

}  // namespace braid
