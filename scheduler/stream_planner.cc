#include "scheduler/stream_planner.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace braid {
namespace {

// By so many times its length a step may grow through streams that catch up,
// whatever the targets: answers should flow.
constexpr double kMostStretch = 8;
// Where a step that is in the way sheds, it is their sum that costs, and not
// how even they are: what streams leave of so many steps is theirs later, to
// catch up at once and answer the longer. It is counted in steps, whatever each
// may add: what a lone row has saved costs more in a crowd.
constexpr double kSavedSteps = 64;
// Of the tightest token target, that a step with streams may take: the time
// that rows are ahead of their dues is for prompts, and must still grow.
constexpr double kTargetShare = 0.8;
// What rows are ahead of their dues is the time that prompts beside them have.
// Where steps with prompts take so much of all devices' time, streams have none
// of it, and proportionally more where they take less.
constexpr double kMostPromptLoad = 0.4;
// What streams cost is only learned from steps that have them, and a model that
// takes them to be dear has none: after so many steps without, and twice as
// many, and so on, one tries so many rows.
constexpr uint32_t kTrialSteps = 32, kTrialRows = 16;
// Streams that are looked up in the prefix index for one plan.
constexpr uint32_t kLookups = 8;

bool IsTrial(uint32_t without_streams) {
  return without_streams >= kTrialSteps && std::has_single_bit(without_streams);
}

// How much longer than that of a single row a step of candidates alone may be:
// nobody has rows in it, and whoever comes meanwhile waits for its end.
constexpr double kAlone = 1.5;

}  // namespace

void StreamPlanner::DropFor(PoolId id, uint64_t blocks, StepPlan& plan) const {
  const uint64_t of_candidates = best_of_.Drop(id, blocks, plan);
  if (of_candidates >= blocks) return;
  blocks -= of_candidates;
  const uint64_t of_catch_ups = catch_ups_.Drop(id, blocks, plan);
  if (of_catch_ups >= blocks) return;
  blocks -= of_catch_ups;
  const KvPool& pool = state_.PoolOf(id);
  spares_.clear();
  for (const DeviceState& device : state_.devices) {
    if (device.config.pool != id || device.elastic == 0) continue;
    for (const DecodeRow& row : device.decoding) {
      const Request& request = state_.requests.at(row.slot);
      if (!request.elastic() || plan.preempts(request.id)) continue;
      const double remaining = state_.answers.Expected(request);
      for (uint32_t s = 1; s < request.most_streams(); ++s) {
        const RequestStream& stream = request.streams[s - 1];
        const size_t held = stream.blocks.blocks().size();
        if (held == 0 || stream.in_flight) continue;
        const double gain = request.set->gain[s] - request.set->gain[s - 1];
        spares_.push_back(
            {.request = &request,
             .stream = s,
             .worth = gain * remaining / static_cast<double>(held)});
      }
    }
  }
  std::ranges::sort(spares_, [](const SpareStream& a, const SpareStream& b) {
    if (a.worth != b.worth) return a.worth < b.worth;
    if (a.request != b.request) return a.request->id < b.request->id;
    return a.stream > b.stream;
  });
  const size_t first = plan.dropped.size();
  uint64_t found = 0;
  for (const SpareStream& spare : spares_) {
    if (found >= blocks) break;
    const Request& request = *spare.request;
    auto drop = std::find_if(
        plan.dropped.begin() + static_cast<std::ptrdiff_t>(first),
        plan.dropped.end(),
        [&](const StreamDrop& one) { return one.request == request.id; });
    uint32_t end = request.most_streams();
    if (drop == plan.dropped.end()) {
      plan.dropped.push_back({.request = request.id, .slot = request.slot});
      drop = plan.dropped.end() - 1;
    } else {
      end = drop->keep;
    }
    for (uint32_t s = spare.stream; s < end; ++s) {
      const BlockTable& table = request.streams[s - 1].blocks;
      found += pool.CountFreedBy(table.blocks());
    }
    drop->keep = std::min(end, spare.stream);
  }
}

void StreamPlanner::MakeRoom(StepPlan& plan) const {
  if (plan.admissions.empty()) return;
  for (const auto& pool : state_.pools) {
    if (pool->elastic() == 0) continue;
    const PoolId id = pool->blocks().id();
    uint64_t needed = 0;
    const auto add = [&](const std::vector<BlockId>& shared, uint32_t taken) {
      needed += taken;
      for (BlockId block : shared) {
        needed += pool->blocks().state(block) == BlockState::kCached;
      }
    };
    for (const Admission& admission : plan.admissions) {
      if (state_.pool_of(admission.prefill) == id) {
        add(admission.shared, admission.taken);
        add(admission.streams_shared, 0);
      }
      if (state_.pool_of(admission.decode) == id) {
        add(admission.landing_shared, admission.landing_taken);
      }
    }
    const uint32_t available = pool->index().available();
    if (needed > available) DropFor(id, needed - available, plan);
  }
}

void StreamPlanner::PlanGangs(StepPlan& plan, StepShape& shape) const {
  candidates_.clear();
  places_.clear();
  for (uint32_t place = 0; place < plan.rows.size(); ++place) {
    const PlannedRows& rows = plan.rows[place];
    const uint32_t gang = state_.requests.at(rows.slot).gang;
    if (gang == 1) continue;
    StreamCandidate& candidate = candidates_.emplace_back();
    places_.push_back(place);
    candidate.most = candidate.gang = gang;
    for (uint32_t s = 1; s < gang; ++s) {
      candidate.computed[s] = rows.first;
      candidate.rows[s] = 1;
      shape.AddStreamRows(rows.first, 1);
    }
  }
  InsertStreams(candidates_, places_, plan);
}

void StreamPlanner::PlanElastic(const DeviceState& own, TimePoint now,
                                StepPlan& plan) const {
  if (plan.drops()) return;
  // Somebody waits for blocks. Those that the last step worked on come now.
  const uint64_t promised = state_.PromisedBlocks(own.config.pool);
  const uint32_t available = state_.PoolOf(own.config.pool).index().available();
  if (promised > available) {
    return DropFor(own.config.pool, promised - available, plan);
  }
  if (plan.rows.empty()) return PlanLingering(own, plan);
  if (!own.prefilling.empty() || own.queued.prompts.requests > 0 ||
      !plan.preempted.empty() || !forecast_.IsWarm(own)) {
    return;
  }
  const StepTimeModel& time =
      forecast_.StreamTimeOf(own, forecast_.Lenders(own));
  const StepShape shape = ShapeOf(plan);
  TimePoint due = kNever;
  for (const DecodeRow& row : own.decoding) due = std::min(due, row.due);
  const double plain = time.Predict(shape);
  const double slack = std::min(ToSeconds(due - now),
                                kTargetShare * forecast_.TightestTpot(own)) -
                       plain;
  const double share =
      std::max(0.0, 1 - state_.prompt_load.busy(now) / kMostPromptLoad);
  const double longest = plain + (slack > 0 ? share * slack : slack);
  const double each = state_.allowance.Extra(plain, state_.RowsNear(own).all,
                                             own.config.sheds_in_flight);
  plan.saved =
      own.config.sheds_in_flight ? std::min(own.saved + 1, kSavedSteps) : 1;
  const double saved = plan.saved * each;
  const double extra = std::min(kMostStretch * plain, saved);
  const bool trial = extra > 0 && IsTrial(own.without_streams);
  const double bound = std::min(longest, plain + extra);
  const double seconds = trial ? longest : bound;
  uint32_t rows = own.config.max_rows - shape.rows();
  if (seconds <= plain || rows == 0) return;

  FindCandidates(own, plan);
  best_of_.Find(own, plan, candidates_);
  const std::span all(candidates_);
  const size_t with_streams = places_.size();
  const auto offered = [&](std::span<const StreamCandidate> some) {
    return StreamFiller::Offered(
        some, shape, time,
        std::min(bound, plain + std::min(each, kMostStretch * plain)), rows);
  };
  plan.offered = offered(all.first(with_streams));
  plan.best_of_offered = std::max(offered(all), plan.offered) - plan.offered;
  if (trial) rows = std::min(rows, kTrialRows);
  const StreamFill fill =
      filler_.Fill(candidates_, shape, time,
                   {.seconds = seconds,
                    .saved = trial ? seconds : saved,
                    .each = each,
                    .rows = rows,
                    .slice = state_.config.prefill_chunk,
                    .blocks = state_.RoomForElastic(own.config.pool),
                    .block_tokens = state_.config.block_tokens});
  plan.unfilled = plan.offered;
  if (fill.rows == 0) return;
  const std::span streams = all.first(with_streams);
  InsertStreams(streams, places_, plan);
  best_of_.Insert(all.subspan(with_streams), plan);
  uint32_t answering = 0;
  for (const StreamCandidate& one : streams) answering += one.gang - 1;
  plan.offered = std::max(plan.offered, answering);
  plan.unfilled = plan.offered - answering;
  plan.added = time.Predict(ShapeOf(plan)) - plain;
  plan.saved = std::max(0.0, plan.saved - plan.added / each);
}

// Nobody decodes there, so candidates that linger may have a step of their own;
// whoever comes waits for its end.
void StreamPlanner::PlanLingering(const DeviceState& own,
                                  StepPlan& plan) const {
  const bool prompts = std::ranges::any_of(
      state_.devices,
      [](const DeviceState& d) { return !d.prefilling.empty(); });
  if (own.lingering.empty() || prompts || state_.queue.size() > 0 ||
      !forecast_.IsWarm(own)) {
    return;
  }
  candidates_.clear();
  best_of_.Find(own, plan, candidates_);
  StepShape row;
  for (const StreamCandidate& one : candidates_) {
    row.decode_attended =
        std::max<uint64_t>(row.decode_attended, one.position + 1);
  }
  row.stream_rows = 1;
  const StepTimeModel& time =
      forecast_.StreamTimeOf(own, forecast_.Lenders(own));
  const double seconds = kAlone * time.Predict(row);
  plan.best_of_offered = StreamFiller::Offered(candidates_, StepShape(), time,
                                               seconds, own.config.max_rows);
  filler_.Fill(candidates_, StepShape(), time,
               {.seconds = seconds,
                .rows = own.config.max_rows,
                .slice = state_.config.prefill_chunk,
                .blocks = state_.RoomForElastic(own.config.pool),
                .block_tokens = state_.config.block_tokens});
  best_of_.Insert(candidates_, plan);
}

void StreamPlanner::CountWithoutStreams(DeviceState& own, bool streams) {
  if (own.elastic == 0) return;
  const bool tried = streams && IsTrial(own.without_streams);
  own.without_streams = streams && !tried ? 0 : own.without_streams + 1;
}

// Those of the plan's rows that may have elastic streams.
void StreamPlanner::FindCandidates(const DeviceState& own,
                                   const StepPlan& plan) const {
  candidates_.clear();
  places_.clear();
  uint32_t lookups = state_.config.prefix_cache ? kLookups : 0;
  const DeviceState* const helper = catch_ups_.HelperFor(own);
  for (uint32_t place = 0; place < plan.rows.size(); ++place) {
    const PlannedRows& rows = plan.rows[place];
    const Request& request = state_.requests.at(rows.slot);
    if (rows.kind != RowKind::kDecode || !request.elastic()) continue;
    StreamCandidate& candidate = candidates_.emplace_back();
    places_.push_back(place);
    candidate.position = rows.first;
    candidate.remaining = state_.answers.Left(request);
    candidate.most = request.most_streams();
    candidate.wanted = std::min(request.terms.min, candidate.most);
    candidate.gain = request.set->gain;
    for (uint32_t s = 1; s < candidate.most; ++s) {
      const RequestStream& stream = request.streams[s - 1];
      candidate.computed[s] = stream.computed;
      candidate.blocks[s] =
          static_cast<uint32_t>(stream.blocks.blocks().size());
      if (stream.catch_up != CatchUpId()) {
        candidate.elsewhere = s;
        break;
      }
      if (candidate.blocks[s] > 0) continue;
      if (lookups > 0) {
        // What the index knows of it need not be computed; its blocks are
        // counted as if they were taken.
        --lookups;
        const uint32_t known = std::min(
            rows.first, stream.keys.size() * state_.config.block_tokens);
        candidate.computed[s] =
            state_.config.block_tokens *
            state_.PoolOf(own.config.pool)
                .index()
                .CountMatch(stream.keys,
                            std::span(request.tokens).first(known));
      }
      // Who has nothing else to do has it done sooner.
      if (helper != nullptr && place < CatchUpPlanner::kRows &&
          catch_ups_.IsLeftTo(*helper, request, s, candidate.computed[s])) {
        candidate.elsewhere = s;
        break;
      }
    }
  }
}

// Every candidate's rows behind the row of its stream 0, from the back so that
// nothing is moved twice.
void StreamPlanner::InsertStreams(std::span<const StreamCandidate> candidates,
                                  std::span<const uint32_t> places,
                                  StepPlan& plan) {
  size_t from = plan.rows.size(), to = from;
  for (const StreamCandidate& candidate : candidates) {
    to += candidate.gang - 1 +
          (candidate.gang < candidate.most && candidate.rows[candidate.gang]);
  }
  plan.rows.resize(to);
  size_t next = candidates.size();
  while (from > 0) {
    PlannedRows row = plan.rows[--from];
    if (next > 0 && places[next - 1] == from) {
      const StreamCandidate& candidate = candidates[--next];
      for (uint32_t s = candidate.most - 1; s > 0; --s) {
        if (candidate.rows[s] == 0) continue;
        plan.rows[--to] = {.request = row.request,
                           .kind = RowKind::kStream,
                           .slot = row.slot,
                           .first = candidate.computed[s],
                           .count = candidate.rows[s],
                           .draws = false,
                           .stream = static_cast<uint8_t>(s)};
      }
      row.gang = static_cast<uint8_t>(candidate.gang);
    }
    plan.rows[--to] = row;
  }
}

}  // namespace braid
