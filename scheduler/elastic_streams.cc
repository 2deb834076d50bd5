#include "scheduler/elastic_streams.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/request_keys.h"

namespace braid {

void ElasticStreams::ApplyDrops(const StepPlan& plan) {
  for (const StreamDrop& drop : plan.dropped) {
    Request& request = state_.requests.at(drop.slot);
    BRAID_CHECK(request.id == drop.request);
    const uint32_t dropped = Drop(request, drop.keep);
    BRAID_CHECK(dropped > 0);
    state_.stream_stats.dropped += dropped;
    state_.Log(DecisionKind::kStreams, "blocks-wanted", request, dropped, 0);
  }
}

uint32_t ElasticStreams::Drop(Request& request, uint32_t keep) {
  uint32_t dropped = 0;
  for (uint32_t s = keep; s <= request.streams.size(); ++s) {
    RequestStream& stream = request.streams[s - 1];
    if (stream.in_flight || stream.blocks.pool() == nullptr) continue;
    state_.PoolOf(stream.blocks).Release(stream.blocks.blocks());
    stream.blocks = BlockTable();
    stream.computed = 0;
    ++dropped;
  }
  return dropped;
}

void ElasticStreams::Open(Request& request) {
  BRAID_CHECK(request.streams.empty());
  for (uint32_t s = 1; s < request.most_streams(); ++s) {
    request.streams.emplace_back().keys = KeysOf(state_.config, request, s);
  }
  ExtendKeys(state_.config, request);
}

void ElasticStreams::Close(Request& request) {
  --state_.Device(request.decode_device).elastic;
  Drop(request, 1);
}

void ElasticStreams::StartAll(const StepPlan& plan) {
  for (const PlannedRows& rows : plan.rows) {
    if (rows.kind != RowKind::kStream) continue;
    Request& request = state_.requests.at(rows.slot);
    RequestStream& stream = request.streams[rows.stream - 1];
    if (!request.elastic() || stream.blocks.pool() != nullptr) continue;
    Start(request, stream, rows.first);
  }
}

// Takes the blocks that the index knows, and no others yet.
void ElasticStreams::Start(Request& request, RequestStream& stream,
                           uint32_t first) {
  KvPool& pool = *state_.pools[state_.pool_of(request.decode_device).value()];
  stream.blocks = BlockTable(pool.blocks());
  stream.computed = first;
  if (first > 0) {
    const PrefixMatch match =
        pool.index().Match(stream.keys, std::span(request.tokens).first(first));
    BRAID_CHECK(match.tokens == first);
    stream.blocks = pool.blocks().Share(match.blocks);
    pool.Hold(stream.blocks.blocks());
  }
  stream.blocks.Expect(state_.BlocksFor(request.positions()));
}

void ElasticStreams::Apply(DeviceState& own, Request& request,
                           const PlannedRows& rows) {
  RequestStream& stream = request.streams[rows.stream - 1];
  BRAID_CHECK(request.id == rows.request && !stream.in_flight &&
              stream.computed == rows.first);
  stream.in_flight = true;
  const uint32_t needed = state_.BlocksFor(rows.first + rows.count);
  if (!request.elastic()) return stream.blocks.UseUpTo(needed);
  state_.PoolOf(stream.blocks).Grow(stream.blocks, needed);
  own.pinned += static_cast<uint32_t>(stream.blocks.blocks().size());
  own.elastic_rows += rows.count;
}

void ElasticStreams::Commit(DeviceState& own, Request& request,
                            const PlannedRows& rows, bool failed) {
  RequestStream& stream = request.streams[rows.stream - 1];
  BRAID_CHECK(request.id == rows.request && stream.in_flight);
  stream.in_flight = false;
  if (failed) return;
  const uint32_t end = rows.first + rows.count;
  if (request.elastic()) {
    const bool answers = end == request.computed + 1;
    state_.stream_stats.filled += answers;
    state_.stream_stats.caught_up += rows.count - answers;
  } else if (rows.kind == RowKind::kStream) {
    ++state_.stream_stats.gang_rows;
  }
  if (request.state == RequestState::kFinished) return;
  stream.computed = end;
  if (rows.kind == RowKind::kChunk) {
    own.prefill_left -=
        PromptWork{.tokens = rows.count,
                   .attended = PromptWork::Of(rows.first, end).attended};
  } else if (!request.elastic()) {
    ++own.bound_tokens;
  }
  if (rows.first / state_.config.block_tokens !=
      end / state_.config.block_tokens) {
    Publish(request, stream);
  }
}

void ElasticStreams::Publish(Request& request, RequestStream& stream) {
  if (!state_.config.prefix_cache) return;
  const std::span computed = std::span(request.tokens).first(stream.computed);
  stream.keys.Extend(computed);
  KvPool& pool = state_.PoolOf(stream.blocks);
  if (request.elastic()) {
    pool.PublishElastic(stream.keys, computed, stream.blocks);
  } else {
    pool.index().Publish(stream.keys, computed, stream.blocks);
  }
}

void ElasticStreams::SetAnswered(Request& request, uint32_t streams) {
  if (streams < request.answered) {
    state_.stream_stats.shed += request.answered - streams;
  }
  state_.stream_stats.active += streams;
  state_.stream_stats.active -= request.answered;
  request.answered = streams;
  if (streams > 1) state_.stream_stats.gain += request.set->gain[streams - 1];
}

bool ElasticStreams::IsPressed(const DeviceState& device,
                               std::span<const DeviceId> lent) const {
  const auto has_prompts = [](const DeviceState& state) {
    return state.queued.prompts.requests > 0;
  };
  const PoolId pool = device.config.pool;
  return has_prompts(device) ||
         std::ranges::any_of(
             lent,
             [&](DeviceId id) { return has_prompts(state_.Device(id)); }) ||
         state_.PromisedBlocks(pool) > state_.PoolOf(pool).index().available();
}

void ElasticStreams::NotePressure(DeviceState& device,
                                  std::span<const DeviceId> lent, bool shed) {
  const bool held = device.elastic_rows > 0 && IsPressed(device, lent);
  device.elastic_rows = 0;
  state_.stream_stats.shed_in_flight += shed;
  state_.stream_stats.pressures += held && device.pressed == 0;
  if (!held || shed) {
    device.pressed = 0;
    return;
  }
  ++state_.stream_stats.shed_steps;
  state_.stream_stats.most_shed_steps =
      std::max(state_.stream_stats.most_shed_steps, ++device.pressed);
}

}  // namespace braid
