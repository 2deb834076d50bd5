#include "scheduler/catch_ups.h"

#include <algorithm>

#include "base/check.h"
#include "scheduler/catch_up_planner.h"
#include "scheduler/request_keys.h"

namespace braid {

void CatchUps::Start(DeviceState& own, const CatchUpStart& start) {
  Request& request = state_.requests.at(start.slot);
  RequestStream& stream = request.streams[start.stream - 1];
  BRAID_CHECK(request.id == start.request && own.catch_up == nullptr);
  BRAID_CHECK(stream.catch_up == CatchUpId() && !stream.in_flight);
  auto owned = std::make_unique<StreamCatchUp>();
  StreamCatchUp& one = *owned;
  one.id = CatchUpId(++last_id_);
  one.request = request.id;
  one.slot = request.slot;
  one.stream = start.stream;
  one.device = own.config.id;
  const size_t size = size_t{start.blocks} * state_.config.block_tokens;
  one.tokens.assign(request.tokens.begin(),
                    request.tokens.begin() + static_cast<std::ptrdiff_t>(size));
  one.keys = KeysOf(state_.config, request, start.stream, /*apart=*/true);
  if (state_.config.prefix_cache) one.keys.Extend(one.tokens);
  KvPool& from = *state_.pools[own.config.pool.value()];
  KvPool& to = *state_.pools[state_.pool_of(request.decode_device).value()];
  one.blocks = from.blocks().Share(start.shared);
  one.landing = to.blocks().Share(start.landing_shared);
  const auto take = [&](KvPool& pool, BlockTable& table) {
    const auto missing =
        start.blocks - static_cast<uint32_t>(table.blocks().size());
    pool.Take(table, missing);
    pool.Hold(table.blocks());
  };
  take(from, one.blocks);
  take(to, one.landing);
  one.computed =
      static_cast<uint32_t>(start.shared.size()) * state_.config.block_tokens;
  one.landed = static_cast<uint32_t>(start.landing_shared.size());
  stream.catch_up = one.id;
  own.catch_up = &one;
  state_.catch_ups.push_back(std::move(owned));
  ++state_.stream_stats.catch_ups;
  state_.Log(DecisionKind::kStreams, "computed-elsewhere", request, one.stream,
             own.config.id.value());
}

void CatchUps::ApplyDrops(const StepPlan& plan) {
  for (const CatchUpId id : plan.catch_ups_dropped) {
    GiveUp(At(id), "dropped");
  }
}

void CatchUps::Apply(DeviceState& own, const StepPlan& plan) {
  if (plan.catch_up) Start(own, *plan.catch_up);
  if (own.catch_up == nullptr) return;
  StreamCatchUp& one = *own.catch_up;
  const PlannedRows& rows = plan.rows[0];
  if (rows.kind != RowKind::kCatchUp) return CutShort(one);
  BRAID_CHECK(one.request == rows.request && one.stream == rows.stream &&
              one.computed == rows.first && !one.in_flight);
  one.in_flight = true;
  one.blocks.UseUpTo(state_.BlocksFor(uint64_t{rows.first} + rows.count));
  own.pinned += static_cast<uint32_t>(one.blocks.blocks().size());
  own.elastic_rows += rows.count;
}

void CatchUps::Commit(DeviceState& own, const PlannedRows& rows, bool failed,
                      bool shed) {
  BRAID_CHECK(own.catch_up != nullptr);
  StreamCatchUp& one = *own.catch_up;
  BRAID_CHECK(one.in_flight && one.computed == rows.first);
  one.in_flight = false;
  if (one.state == StreamCatchUp::State::kOver) return Forget(one);
  if (failed) return GiveUp(one, "step-failed");
  if (shed) return;
  one.computed += rows.count;
  state_.stream_stats.caught_up += rows.count;
  state_.stream_stats.caught_up_elsewhere += rows.count;
  if (state_.config.prefix_cache) {
    state_.PoolOf(one.blocks)
        .PublishElastic(one.keys, std::span(one.tokens).first(one.computed),
                        one.blocks);
  }
  if (one.computed < one.size()) return;
  one.state = StreamCatchUp::State::kReady;
  own.catch_up = nullptr;
}

// The device has other work: what there is of it is sent, and where it lands it
// catches up on the rest.
void CatchUps::CutShort(StreamCatchUp& one) {
  BRAID_CHECK(one.state == StreamCatchUp::State::kComputing && !one.in_flight);
  const uint32_t whole = one.computed / state_.config.block_tokens;
  if (whole <= one.landed) return GiveUp(one, "no-time");
  one.computed = whole * state_.config.block_tokens;
  one.tokens.resize(one.computed);
  for (BlockTable* table : {&one.blocks, &one.landing}) {
    state_.PoolOf(*table).Release(table->blocks().subspan(whole));
    table->Truncate(whole);
  }
  one.state = StreamCatchUp::State::kReady;
  state_.Device(one.device).catch_up = nullptr;
}

const StreamCatchUp* CatchUps::Find(CatchUpId id) const {
  const auto it = std::ranges::find(state_.catch_ups, id, &StreamCatchUp::id);
  return it == state_.catch_ups.end() ? nullptr : it->get();
}

StreamCatchUp& CatchUps::At(CatchUpId id) {
  return const_cast<StreamCatchUp&>(*Find(id));
}

void CatchUps::TakeSends(std::vector<CatchUpId>& out) {
  for (const auto& one : state_.catch_ups) {
    if (one->state != StreamCatchUp::State::kReady || !MaySend(state_, *one))
      continue;
    const auto left =
        static_cast<uint32_t>(one->blocks.blocks().size()) - one->landed;
    one->state = StreamCatchUp::State::kSending;
    one->sending = std::min(left, std::max(1u, state_.config.prefill_chunk /
                                                   state_.config.block_tokens));
    one->sent_at = state_.now;
    out.push_back(one->id);
  }
}

void CatchUps::TakeAbandoned(std::vector<CatchUpId>& out) {
  out.insert(out.end(), abandoned_.begin(), abandoned_.end());
  abandoned_.clear();
}

void CatchUps::CompleteSend(CatchUpId id) {
  StreamCatchUp& one = At(id);
  BRAID_CHECK(one.state == StreamCatchUp::State::kSending);
  state_.LinkOf(one.blocks.pool()->id(), one.landing.pool()->id())
      .streams.Observe(one.sending * state_.config.block_tokens,
                       ToSeconds(state_.now - one.sent_at));
  one.landed += one.sending;
  one.sending = 0;
  one.state = StreamCatchUp::State::kReady;
  if (one.landed == one.landing.blocks().size()) Land(one);
}

void CatchUps::FailSend(CatchUpId id) {
  StreamCatchUp& one = At(id);
  BRAID_CHECK(one.state == StreamCatchUp::State::kSending);
  one.state = StreamCatchUp::State::kReady;  // Nothing is on its way any more.
  GiveUp(one, "transfer-failed");
}

// The request has it from now on, and appends what was said meanwhile.
void CatchUps::Land(StreamCatchUp& one) {
  Request& request = state_.requests.at(one.slot);
  RequestStream& stream = request.streams[one.stream - 1];
  BRAID_CHECK(request.id == one.request && stream.catch_up == one.id);
  BRAID_CHECK(!stream.in_flight && stream.computed < one.size());
  state_.PoolOf(one.landing).Release(stream.blocks.blocks());
  one.landing.UseUpTo(static_cast<uint32_t>(one.landing.blocks().size()));
  stream.blocks = std::move(one.landing);
  one.landing = BlockTable();
  stream.blocks.Expect(state_.BlocksFor(request.positions()));
  stream.computed = one.size();
  stream.catch_up = CatchUpId();
  streams_.Publish(request, stream);
  ++state_.stream_stats.catch_ups_landed;
  state_.Log(DecisionKind::kStreams, "came-from-elsewhere", request, one.stream,
             request.computed - stream.computed);
  Forget(one);
}

// Its request has ended, somebody needs its blocks, or it does not pay. What a
// step works on follows with its Commit.
void CatchUps::GiveUp(StreamCatchUp& one, const char* reason) {
  BRAID_CHECK(one.state != StreamCatchUp::State::kOver);
  Request& request = state_.requests.at(one.slot);
  RequestStream& stream = request.streams[one.stream - 1];
  BRAID_CHECK(request.id == one.request && stream.catch_up == one.id);
  stream.catch_up = CatchUpId();
  stream.catch_up_failed = true;
  ++state_.stream_stats.catch_ups_given_up;
  state_.Log(DecisionKind::kStreams, reason, request, one.stream,
             one.size() - one.computed);
  // What is on its way is held by the transfer.
  if (one.state == StreamCatchUp::State::kSending) {
    abandoned_.push_back(one.id);
  }
  state_.PoolOf(one.landing).Release(one.landing.blocks());
  one.landing = BlockTable();
  one.state = StreamCatchUp::State::kOver;
  if (!one.in_flight) Forget(one);
}

void CatchUps::Forget(StreamCatchUp& one) {
  state_.PoolOf(one.blocks).Release(one.blocks.blocks());
  DeviceState& own = state_.Device(one.device);
  if (own.catch_up == &one) own.catch_up = nullptr;
  const auto it =
      std::ranges::find(state_.catch_ups, one.id, &StreamCatchUp::id);
  state_.catch_ups.erase(it);
}

void CatchUps::GiveUpAllOf(Request& request) {
  for (const RequestStream& stream : request.streams) {
    if (stream.catch_up == CatchUpId()) continue;
    GiveUp(At(stream.catch_up), "its-request-is-over");
  }
}

// The device is lost: what it computes, and what is on its way from it.
void CatchUps::GiveUpAllOf(const DeviceState& device) {
  const auto lost = [&](const std::unique_ptr<StreamCatchUp>& one) {
    return one->device == device.config.id;
  };
  for (;;) {
    const auto it = std::ranges::find_if(state_.catch_ups, lost);
    if (it == state_.catch_ups.end()) return;
    GiveUp(**it, "device-lost");
  }
}

}  // namespace braid
