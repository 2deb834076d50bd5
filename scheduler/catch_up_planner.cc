#include "scheduler/catch_up_planner.h"

#include <algorithm>

#include "scheduler/request_keys.h"

namespace braid {
namespace {

// What lacks no more blocks than these, or less than half of its tokens, is
// appended in idle rows where it is to answer.
constexpr uint32_t kAppendBlocks = 4;
// Of a first token, as they are lately or must be, that a newcomer may wait for
// a step: who has another device to go to, and comes here for its prefix or
// with others; anybody; and where the step sheds, which ends it at once.
constexpr double kFewWait = 0.25, kAllWait = 0.1, kNoneWaits = 0.8;
// Of the time that a stream takes to come, that it is to answer for, at least:
// those of less use keep the device from newcomers all the same.
constexpr double kLeastUse = 1;
// Computed by one device, and not sent yet.
constexpr uint32_t kMostUnsent = 2;
// Streams that are looked up in the prefix indexes for one plan.
constexpr size_t kLookups = 4;

}  // namespace

bool MaySend(const SchedulerState& state, const StreamCatchUp& one) {
  if (state.requests.at(one.slot).state != RequestState::kDecoding) {
    return false;
  }
  const PoolId from = one.blocks.pool()->id(), to = one.landing.pool()->id();
  for (const auto& other : state.catch_ups) {
    if (other->state == StreamCatchUp::State::kSending &&
        (other->blocks.pool()->id() == from ||
         other->landing.pool()->id() == to)) {
      return false;
    }
  }
  return std::ranges::none_of(state.devices, [&](const DeviceState& device) {
    const PoolId pool = device.config.pool;
    const bool hands_over =
        pool == from &&
        std::ranges::any_of(device.prefilling, &Request::handed_over);
    return hands_over || (pool == to && device.transferring > 0);
  });
}

bool CatchUpPlanner::MayCompute(const DeviceState& own) const {
  return !state_.config.lend_cores && own.unused() && own.lingering.empty() &&
         state_.queue.size() == 0 && forecast_.IsWarm(own);
}

// Whether a newcomer finds another device free while `own` computes: all that
// are idle would else be busy with streams. One that was stopped may go on
// where another was stopped, too.
bool CatchUpPlanner::LeavesOneFree(const DeviceState& own) const {
  return std::ranges::any_of(state_.devices, [&](const DeviceState& other) {
    return &other != &own && other.idle() && other.unused() &&
           (own.catch_up != nullptr || other.catch_up == nullptr);
  });
}

// Of two devices, of which one decodes, none can be kept free.
bool CatchUpPlanner::MaySpare(const DeviceState& own) const {
  return own.config.sheds_in_flight || state_.devices.size() <= 2 ||
         LeavesOneFree(own);
}

// Seconds until it would answer: computed on `own`, sent, with nothing in the
// way.
double CatchUpPlanner::Seconds(const DeviceState& own, PoolId to,
                               uint32_t first, uint32_t end) const {
  return forecast_.PromptSeconds(own, PromptWork::Of(first, end)) +
         state_.LinkOf(own.config.pool, to).streams.Predict(end);
}

// Nats per second that a stream of the request gains, when `own` computes it
// from `first` on; not above 0: it does not pay.
double CatchUpPlanner::Worth(const DeviceState& own, const Request& request,
                             uint32_t stream, uint32_t first) const {
  const DeviceState& decode = state_.Device(request.decode_device);
  const uint32_t end = state_.WholeBlocks(request);
  const double seconds = Seconds(own, decode.config.pool, first, end);
  const double token = forecast_.TimeOf(decode).Predict(decode.DecodeShape());
  const double left = state_.answers.Left(request) * token - seconds;
  if (left <= kLeastUse * seconds) return 0;
  const std::vector<double>& gain = request.set->gain;
  return (gain[stream] - gain[stream - 1]) * (left / token) / seconds;
}

// Whether it is better computed elsewhere than where it is to answer.
// `computed` is what is there of it.
bool CatchUpPlanner::LagsFar(const Request& request, uint32_t computed) const {
  const uint32_t end = state_.WholeBlocks(request);
  return computed + kAppendBlocks * state_.config.block_tokens < end &&
         2 * uint64_t{computed} < end;
}

// Newcomers go to the first of equal devices, so it is the last.
const DeviceState* CatchUpPlanner::HelperFor(const DeviceState& decode) const {
  if (state_.config.lend_cores) return nullptr;
  for (size_t i = state_.devices.size(); i-- > 0;) {
    const DeviceState& own = state_.devices[i];
    if (own.idle() && own.catch_up == nullptr && MayHelp(own, decode) &&
        MaySpare(own)) {
      return &own;
    }
  }
  return nullptr;
}

bool CatchUpPlanner::MayHelp(const DeviceState& own,
                             const DeviceState& decode) const {
  const PoolId from = own.config.pool, to = decode.config.pool;
  if (from == to || !forecast_.IsWarm(decode) || !MayCompute(own) ||
      state_.LinkOf(from, to).avoided_until > state_.now) {
    return false;
  }
  uint32_t unsent = 0, coming = 0;
  for (const auto& one : state_.catch_ups) {
    if (one->state == StreamCatchUp::State::kOver) continue;
    unsent += one->device == own.config.id;
    coming += one->landing.pool()->id() == to;
  }
  // Rows that steps had left for streams, if only these had been there. Of a
  // device that is about to decode it is not known, so there may be.
  const double room =
      decode.decoding.empty() ? kMostStreams : decode.unfilled - 0.5;
  return unsent <= kMostUnsent && room >= coming;
}

bool CatchUpPlanner::IsLeftTo(const DeviceState& helper, const Request& request,
                              uint32_t stream, uint32_t computed) const {
  const uint32_t blocks = state_.BlocksFor(state_.WholeBlocks(request));
  return !request.streams[stream - 1].catch_up_failed &&
         LagsFar(request, computed) &&
         blocks <= state_.RoomForElastic(helper.config.pool) &&
         blocks <=
             state_.RoomForElastic(state_.pool_of(request.decode_device)) &&
         Worth(helper, request, stream, 0) > 0;
}

void CatchUpPlanner::Plan(const DeviceState& own, StepPlan& plan) const {
  if (!plan.rows.empty() || !plan.preempted.empty() || plan.drops() ||
      state_.config.stream_sets.empty() || !MayCompute(own)) {
    return;
  }
  if (own.catch_up == nullptr) return Begin(own, plan);
  const StreamCatchUp& one = *own.catch_up;
  const Request& request = state_.requests.at(one.slot);
  if (Worth(own, request, one.stream, one.computed) <= 0) {
    plan.catch_ups_dropped.push_back(one.id);
    return;
  }
  if (!MaySpare(own)) return;
  AddRows(own, request, one.stream, one.computed, one.size(), plan);
}

// How long a newcomer may wait for one of its steps.
double CatchUpPlanner::StepSeconds(const DeviceState& own) const {
  double first_token = state_.allowance.first_token();
  for (const ServiceClass& each : state_.config.classes) {
    first_token = std::min(first_token, ToSeconds(each.ttft));
  }
  const double share = own.config.sheds_in_flight ? kNoneWaits
                       : LeavesOneFree(own)       ? kFewWait
                                                  : kAllWait;
  return share * first_token;
}

void CatchUpPlanner::AddRows(const DeviceState& own, const Request& request,
                             uint32_t stream, uint32_t first, uint32_t end,
                             StepPlan& plan) const {
  const uint32_t most =
      std::min({end - first, state_.config.prefill_chunk, own.config.max_rows});
  const uint32_t least = std::min(most, state_.config.block_tokens);
  const uint32_t fits = forecast_.StreamTimeOf(own, 0).LargestChunk(
      StepShape(), first, most, StepSeconds(own));
  plan.rows.push_back({.request = request.id,
                       .kind = RowKind::kCatchUp,
                       .slot = request.slot,
                       .first = first,
                       .count = std::max(fits, least),
                       .draws = false,
                       .stream = static_cast<uint8_t>(stream)});
}

// The most worthwhile stream that there is room for, if any: of requests whose
// prompts are computed, too, so that it may be there when they decode.
void CatchUpPlanner::Begin(const DeviceState& own, StepPlan& plan) const {
  spares_.clear();
  for (const DeviceState& other : state_.devices) {
    for (const Request* request : other.prefilling) {
      if (spares_.size() >= kRows) break;
      if (request->elastic() &&
          HelperFor(state_.Device(request->decode_device)) == &own) {
        Find(own, *request);
      }
    }
    if (other.elastic == 0 || HelperFor(other) != &own) continue;
    const size_t rows = std::min<size_t>(other.decoding.size(), kRows);
    for (const DecodeRow& row : std::span(other.decoding).first(rows)) {
      Find(own, state_.requests.at(row.slot));
    }
  }
  std::ranges::sort(spares_, [](const SpareStream& a, const SpareStream& b) {
    if (a.worth != b.worth) return a.worth > b.worth;
    if (a.request != b.request) return a.request->id < b.request->id;
    return a.stream < b.stream;
  });
  if (spares_.size() > kLookups) spares_.resize(kLookups);
  for (const SpareStream& spare : spares_) {
    if (Begin(own, *spare.request, spare.stream, plan)) return;
  }
}

// Its streams that are better computed on `own`, into spares_.
void CatchUpPlanner::Find(const DeviceState& own,
                          const Request& request) const {
  if (!request.elastic() || request.displaced) return;
  for (uint32_t s = 1; s < request.most_streams(); ++s) {
    const RequestStream& stream = request.streams[s - 1];
    if (stream.catch_up != CatchUpId() || stream.in_flight ||
        !IsLeftTo(own, request, s, stream.computed)) {
      continue;
    }
    spares_.push_back(
        {.request = &request, .stream = s, .worth = Worth(own, request, s, 0)});
  }
}

bool CatchUpPlanner::Begin(const DeviceState& own, const Request& request,
                           uint32_t s, StepPlan& plan) const {
  const RequestStream& stream = request.streams[s - 1];
  const PoolId from = own.config.pool,
               to = state_.pool_of(request.decode_device);
  const uint32_t end = state_.WholeBlocks(request);
  const auto tokens = std::span(request.tokens).first(end);
  const size_t keyed = size_t{stream.keys.size()} * state_.config.block_tokens;
  const auto known = tokens.first(std::min(keyed, tokens.size()));
  const bool begun = !stream.blocks.blocks().empty();
  if (!begun && state_.config.prefix_cache &&
      !LagsFar(request,
               state_.config.block_tokens *
                   state_.PoolOf(to).index().CountMatch(stream.keys, known))) {
    return false;  // It is there as good as computed.
  }
  CatchUpStart start{.request = request.id,
                     .slot = request.slot,
                     .stream = s,
                     .blocks = state_.BlocksFor(end)};
  if (begun) {
    const auto whole = stream.blocks.blocks().first(stream.computed /
                                                    state_.config.block_tokens);
    start.landing_shared.assign(whole.begin(), whole.end());
  } else if (state_.config.prefix_cache) {
    start.landing_shared =
        state_.PoolOf(to).index().Match(stream.keys, known).blocks;
  }
  if (state_.config.prefix_cache) {
    PrefixKeys keys = KeysOf(state_.config, request, s, /*apart=*/true);
    keys.Extend(tokens);
    start.shared = state_.PoolOf(from).index().Match(keys, tokens).blocks;
    // A step has a row at least.
    if (start.shared.size() == start.blocks) start.shared.pop_back();
  }
  AddRows(
      own, request, s,
      static_cast<uint32_t>(start.shared.size()) * state_.config.block_tokens,
      end, plan);
  plan.catch_up = std::move(start);
  return true;
}

uint64_t CatchUpPlanner::Drop(PoolId id, uint64_t blocks,
                              StepPlan& plan) const {
  const KvPool& pool = state_.PoolOf(id);
  uint64_t found = 0;
  for (const auto& one : state_.catch_ups) {
    if (found >= blocks) break;
    if (one->state == StreamCatchUp::State::kOver ||
        one->state == StreamCatchUp::State::kSending) {
      continue;
    }
    const bool here = one->blocks.pool() == &pool.blocks() && !one->in_flight;
    const bool there = one->landing.pool() == &pool.blocks();
    if ((!here && !there) ||
        std::ranges::count(plan.catch_ups_dropped, one->id) > 0) {
      continue;
    }
    plan.catch_ups_dropped.push_back(one->id);
    found += pool.CountFreedBy((here ? one->blocks : one->landing).blocks());
  }
  return found;
}

}  // namespace braid
