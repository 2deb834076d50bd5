// Apply and Commit: what a step takes and what it leaves.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/newcomers.h"
#include "scheduler/owing.h"
#include "scheduler/pace.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// Weight of the newest step in the rows that streams leave unfilled.
constexpr double kUnfilledGain = 1.0 / 8;

}  // namespace

void Scheduler::Apply(const StepPlan& plan, TimePoint now) {
  BRAID_CHECK(!plan.empty());
  state_.now = now;
  for (const Preemption& preemption : plan.preempted) {
    Request& request = state_.requests.at(preemption.slot);
    BRAID_CHECK(request.id == preemption.request);
    ++request.preemptions;
    state_.Log(DecisionKind::kPreempted, "for-better-class", request,
               preemption.cost, preemption.gain);
    Requeue(request);
  }
  streams_.ApplyDrops(plan);
  best_of_.ApplyDrops(plan);
  catch_ups_.ApplyDrops(plan);
  if (plan.rows.empty()) return;
  DeviceState& own = state_.Device(plan.device);
  BRAID_CHECK(own.idle());
  own.running = true;
  Admit(plan.admissions);
  if (own.elastic > 0) streams_.StartAll(plan);
  catch_ups_.Apply(own, plan);
  StepShape shape, elastic;
  own.prompts_in_flight = PromptWork();
  for (const PlannedRows& rows : plan.rows) {
    if (rows.kind == RowKind::kCatchUp) {
      AddRows(rows, elastic);
      continue;
    }
    Request& request = state_.requests.at(rows.slot);
    if (rows.kind == RowKind::kChunk) {
      own.prompts_in_flight +=
          PromptWork::Of(rows.first, rows.first + rows.count);
    }
    if (rows.stream > 0) {
      AddRows(rows, request.gang > 1 ? shape : elastic);
      if (rows.kind == RowKind::kCandidate) {
        best_of_.Apply(own, request, rows);
      } else {
        streams_.Apply(own, request, rows);
      }
      continue;
    }
    BRAID_CHECK(request.id == rows.request && !request.in_flight &&
                request.computed == rows.first);
    request.in_flight = true;
    if (rows.kind == RowKind::kDecode) {
      shape.AddDecodeRow(rows.first + 1);
      if (rows.first % state_.config.block_tokens != 0) continue;
    } else {
      shape.AddChunk(rows.first, rows.count);
    }
    request.blocks.UseUpTo(state_.BlocksFor(uint64_t{rows.first} + rows.count));
  }
  StreamPlanner::CountWithoutStreams(own, own.elastic_rows > 0);
  if (own.prompts_in_flight.tokens > 0) {
    own.prefilled_at = now;
    NotePrompts(state_, plan, shape);
  }
  if (shape.decode_rows > 0) own.decoded_at = now;
  own.plain_in_flight = shape;
  shape += elastic;
  own.in_flight = shape;
  state_.stream_stats.offered += plan.offered;
  state_.best_of_stats.offered += plan.best_of_offered;
  if (own.elastic > 0 && own.prompts_in_flight.tokens == 0) {
    own.unfilled += kUnfilledGain * (plan.unfilled - own.unfilled);
  }
  own.saved = plan.saved;
  own.step_begin = now;
  own.step_end =
      now +
      FromSeconds(forecast_.StreamTimeOf(own, plan.lent.size()).Predict(shape));
  for (DeviceId id : plan.lent) {
    DeviceState& lent = state_.Device(id);
    BRAID_CHECK(lent.idle());
    lent.lent = true;
    lent.step_end = own.step_end;
  }
}

void Scheduler::Admit(const std::vector<Admission>& admissions) {
  // All cached blocks are held before the first eviction: what one admission
  // shares must not make room for another.
  for (const Admission& admission : admissions) {
    Request& request = state_.requests.at(admission.slot);
    BRAID_CHECK(request.id == admission.request);
    waiting_.Leave(request, /*served=*/true);
    state_.MoveTo(request, RequestState::kPrefilling);
    request.prefill_device = admission.prefill;
    request.decode_device = admission.decode;
    request.prefill_size = request.size();
    request.blocks = state_.PoolOf(state_.pool_of(admission.prefill))
                         .blocks()
                         .Share(admission.shared);
    request.computed = static_cast<uint32_t>(admission.shared.size()) *
                       state_.config.block_tokens;
    // What was computed for an answer so far is no part of the prompt.
    request.cached = std::min(request.computed, request.prompt_size);
    for (uint32_t s = 1; s < request.gang; ++s) {
      RequestStream& stream = request.streams[s - 1];
      const size_t each = admission.shared.size();
      const std::span all(admission.streams_shared);
      stream.blocks = state_.PoolOf(state_.pool_of(admission.prefill))
                          .blocks()
                          .Share(all.subspan((s - 1) * each, each));
      stream.computed = request.computed;
    }
    if (admission.landing_taken > 0) {
      request.landing = state_.PoolOf(state_.pool_of(admission.decode))
                            .blocks()
                            .Share(admission.landing_shared);
      request.landing_cached =
          static_cast<uint32_t>(admission.landing_shared.size());
    }
    if (request.elastic()) streams_.Open(request);
    DeviceState& decode = state_.Device(admission.decode);
    ++decode.bound;
    decode.bound_streams += request.gang - 1;
    decode.bound_tokens += uint64_t{request.gang} * request.size();
    decode.bound_max_output += request.max_output;
    ++decode.bound_by_class[request.service_class];
    StartPrefill(request, state_.Device(admission.prefill));
  }
  const auto take = [&](BlockTable& table, uint32_t n) {
    if (n > 0) state_.PoolOf(table).Take(table, n);
  };
  for (const Admission& admission : admissions) {
    Request& request = state_.requests.at(admission.slot);
    const uint32_t each = admission.taken / request.gang;
    take(request.blocks, each);
    for (uint32_t s = 1; s < request.gang; ++s) {
      take(request.streams[s - 1].blocks, each);
    }
    take(request.landing, admission.landing_taken);
  }
}

// Once for each request of a step, so inline whatever its size.
[[gnu::always_inline]] inline void Scheduler::CommitRows(
    DeviceState& own, Request& request, const PlannedRows& rows,
    std::optional<TokenId> drawn) {
  BRAID_CHECK(drawn.has_value() == rows.draws);
  request.computed = rows.first + rows.count;
  if (rows.kind == RowKind::kDecode) {
    DecodeRow& row = own.decoding[request.place_in_batch];
    row.computed = request.computed;
    request.tokens.push_back(*drawn);
    row.due = state_.DueOf(request, state_.now);
    ++own.bound_tokens;
    if (request.computed % state_.config.block_tokens == 0) Publish(request);
  } else {
    CommitChunk(own, request, rows, drawn);
  }
  BRAID_CHECK(request.size() <= request.prompt_size + request.max_output);
  if (request.displaced) Requeue(request);
}

void Scheduler::CommitChunk(DeviceState& own, Request& request,
                            const PlannedRows& rows,
                            std::optional<TokenId> drawn) {
  own.prefill_left -= PromptWork{
      .tokens = rows.count,
      .attended = PromptWork::Of(rows.first, request.computed).attended};
  Publish(request);
  const bool last = request.computed == request.size();
  if (drawn) {
    request.tokens.push_back(*drawn);
    state_.Device(request.decode_device).bound_tokens += request.gang;
    if (request.first_token == kNever) {
      request.first_token = state_.now;
      NoteFirstToken(state_, request);
    }
  }
  if (last && !request.displaced) EndPrefill(request);
}

void Scheduler::Commit(const StepPlan& plan,
                       std::span<const std::optional<TokenId>> drawn,
                       double seconds, TimePoint now, bool shed) {
  state_.now = now;
  DeviceState& own = state_.Device(plan.device);
  BRAID_CHECK(own.running);
  const StepShape shape = own.in_flight;
  own.running = false;
  own.in_flight = StepShape();
  const bool prompts = own.prompts_in_flight.tokens > 0;
  own.prompts_in_flight = PromptWork();
  own.pinned = 0;
  streams_.NotePressure(own, plan.lent, shed);
  for (DeviceId id : plan.lent) state_.Device(id).lent = false;
  const bool failed = drawn.empty();
  // Nothing was done, but nothing is wrong.
  const bool gave_way = !failed && shed && plan.gives_way;
  if (own.elastic > 0 && !failed) NoteOwed(state_, own, plan, prompts, shed);
  const std::span<const PlannedRows> planned = plan.rows;
  BRAID_CHECK(failed || drawn.size() == planned.size());
  for (size_t i = 0; i < planned.size();) {
    const PlannedRows& rows = planned[i];
    const size_t own_place = i;
    if (rows.kind == RowKind::kCatchUp) {
      catch_ups_.Commit(own, rows, failed, shed);
      ++i;
      continue;
    }
    Request& request = state_.requests.at(rows.slot);
    BRAID_CHECK(request.id == rows.request && request.in_flight);
    // Its other streams and candidates first: what ends a prompt looks at all
    // of them. A request that lingers has no others.
    if (rows.stream == 0) ++i;
    for (; i < planned.size() && planned[i].stream > 0 &&
           planned[i].slot == rows.slot;
         ++i) {
      const std::optional<TokenId> token = failed ? std::nullopt : drawn[i];
      if (planned[i].kind == RowKind::kCandidate) {
        best_of_.Commit(request, planned[i], token, failed, gave_way);
      } else {
        BRAID_CHECK(!token);
        const bool dropped = failed || (shed && request.elastic());
        streams_.Commit(own, request, planned[i], dropped);
      }
    }
    request.in_flight = false;
    if (request.state == RequestState::kFinished) {
      if (request.elastic()) streams_.Drop(request, 1);
      state_.requests.Free(request.slot);
    } else if (rows.stream > 0) {
      BRAID_CHECK(request.state == RequestState::kLingering);
    } else if (!failed && !gave_way) {
      if (rows.draws && !state_.config.stream_sets.empty()) {
        streams_.SetAnswered(request,
                             shed && request.elastic() ? 1 : rows.gang);
      }
      CommitRows(own, request, rows, drawn[own_place]);
    } else if (request.displaced) {
      Requeue(request);
    }
  }
  if (!failed && !gave_way && seconds > 0) {
    // A step that has shed did not do what its shape says.
    if (!shed) LearnStep(own, plan.lent.size(), shape, seconds);
    if (state_.config.lend_cores && shape.decode_rows > 0) {
      NoteRowPace(own, forecast_.TimeOf(own, plan.lent.size()), shape, seconds);
    }
    // Steps of candidates alone say nothing of what is asked for.
    if (shape.decode_rows > 0 || prompts) {
      NotePromptTime(state_, forecast_.TimeOf(own, plan.lent.size()), shape,
                     prompts, seconds);
      roles_.demand().Draw(shape.decode_rows);
    }
  }
}

// A stream's append is far smaller than a prompt's chunk: what a step with
// chunks pays once would be taken for the price of their tokens. But a device
// that computes no prompts has nothing else to learn that from. And no model is
// exact: what it says of prompts and rows, and with it layouts and placements,
// must not hang on how many streams there are. So where no step takes others'
// cores streams have a model of their own, which tells what they have added.
void Scheduler::LearnStep(DeviceState& own, size_t lent, const StepShape& shape,
                          double seconds) {
  const StepShape& plain = own.plain_in_flight;
  const bool appends = shape.chunk_tokens > plain.chunk_tokens;
  const bool misleads = appends && own.prefilled_at != TimePoint::min();
  if (misleads) return;
  if (state_.config.lend_cores) return own.Learn(lent, shape, seconds);
  own.stream_time.Observe(shape, seconds);
  if (appends || plain == StepShape()) return;
  const double added =
      own.stream_time.Predict(shape) - own.stream_time.Predict(plain);
  own.time[0].Observe(plain, std::max(seconds - added, seconds / 2));
}

}  // namespace braid
