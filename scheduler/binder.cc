#include "scheduler/binder.h"

#include <algorithm>

#include "base/check.h"
#include "scheduler/gangs.h"
#include "scheduler/pace.h"
#include "scheduler/request_keys.h"

namespace braid {
namespace {

// Of the head of the queue, looked at in a turn.
constexpr size_t kLookedAt = 16;
// Bound anew in a turn, and how often one request may be.
constexpr int kRebindsPerTurn = 8;
constexpr Duration kRebindInterval = std::chrono::milliseconds(50);

}  // namespace

Binder::Binder(SchedulerState& state, Roles& roles)
    : state_(state),
      forecast_(state),
      roles_(roles),
      matched_(state.pools.size()) {
  times_.reserve(state.devices.size() * state.devices.size());
}

std::optional<Placement> Binder::Choose(const Request& request) {
  // The last token is always computed: its logits are wanted.
  const uint32_t most = request.size() - 1;
  for (uint32_t i = 0; i < state_.pools.size(); ++i) {
    matched_[i] =
        MaySkip(state_.config, request, most)
            ? CountShared(request, PoolId(i), most) * state_.config.block_tokens
            : 0;
  }
  const QueuedByDevice ahead = state_.AheadOf(request.key);
  views_.clear();
  times_.clear();
  for (const DeviceState& device : state_.devices) {
    if (request.gang > 1 && !state_.MayRunGang(device, request.gang)) continue;
    views_.push_back(ViewOf(device, request, ahead));
  }
  const uint32_t left =
      request.max_output - static_cast<uint32_t>(request.output().size());
  PlacementQuery query{
      .prompt_tokens = request.size(),
      .expected_output =
          left <= 1 ? left : std::max(2u, state_.answers.Expected(request)),
      .blocks = state_.BlocksOf(request),
      .ttft_target = ToSeconds(state_.ClassOf(request).ttft),
      .tpot_target = ToSeconds(state_.ClassOf(request).pace()),
      // Streams of a gang never cross a wire: it is prefilled where it decodes.
      .split = request.gang > 1 ? SplitMode::kOff : roles_.mode(),
      .prompt_share = state_.prompt_load.share(),
      .max_chunk = state_.config.prefill_chunk,
      .min_chunk = state_.config.block_tokens,
      .devices = views_,
      .transfer = [this](PoolId from, PoolId to, uint32_t tokens) {
        if (from == to || tokens == 0) return 0.0;
        const PoolLink& link = state_.LinkOf(from, to);
        return link.avoided_until > state_.now ? kNoLink
                                               : link.time.Predict(tokens);
      }};
  std::optional<Placement> planned = state_.config.placement(query);
  if (planned && request.gang > 1) {
    // The policy has priced one stream's prompt.
    const DeviceState& device = state_.Device(planned->prefill);
    const PromptWork others =
        PromptWork::Of(CachedFor(device), request.size(), request.gang - 1);
    planned->ttft += forecast_.PromptSeconds(device, others);
  }
  if (query.split != SplitMode::kOn || query.split == state_.split()) {
    return planned;
  }
  // The planned layout is no wall: where it would miss the target, any pair
  // that keeps it will do.
  const double limit =
      query.ttft_target - ToSeconds(state_.now - request.arrival);
  if (planned && planned->ttft <= kSafeTtftShare * limit) return planned;
  query.split = state_.split();
  const std::optional<Placement> any = state_.config.placement(query);
  const bool better =
      any && (!planned || (any->ttft <= kSafeTtftShare * limit &&
                           any->tpot <= query.tpot_target));
  return better ? any : planned;
}

// Blocks of the prompt that are known there, of every stream of a gang.
uint32_t Binder::CountShared(const Request& request, PoolId pool,
                             uint32_t tokens) const {
  const auto prefix = std::span(request.tokens).first(tokens);
  uint32_t least = state_.PoolOf(pool).index().CountMatch(request.keys, prefix);
  if (request.gang == 1) return least;
  for (const RequestStream& stream : request.streams) {
    if (least == 0) break;
    least = std::min(
        least, state_.PoolOf(pool).index().CountMatch(stream.keys, prefix));
  }
  return least;
}

DeviceView Binder::ViewOf(const DeviceState& device, const Request& request,
                          const QueuedByDevice& ahead) {
  DeviceView view{
      .id = device.config.id,
      .pool = device.config.pool,
      .role = device.role,
      .up = device.up,
      .prefill_wait =
          forecast_.PrefillWait(device, ahead[device.index].prompts),
      .credit_wait = forecast_.CreditWait(device, request, ahead),
      .cached_tokens = CachedFor(device),
      .all_blocks = state_.PoolOf(device.config.pool).blocks().capacity(),
      .queued_tokens =
          device.prefill_left.tokens + device.queued.prompts.tokens,
      .decode_rows = device.bound,
      .aside = device.aside,
      .decode_attended = device.bound_tokens,
      .tightest_tpot = forecast_.TightestTpot(device),
      .prefilling = device.Prefills(state_.now),
      .decoding = device.Decodes(state_.now),
      .time = &forecast_.TimeOf(device, 0)};
  if (!state_.config.lend_cores) return view;
  // Reserved: no view's span moves.
  for (size_t lent = 0; lent < state_.devices.size(); ++lent) {
    times_.push_back(&forecast_.TimeOf(device, lent));
  }
  view.by_lenders = std::span(times_).last(state_.devices.size());
  view.rows_behind = device.rows_behind;
  view.prompts = static_cast<uint32_t>(device.prefilling.size()) +
                 ahead[device.index].prompts.requests;
  return view;
}

void Binder::Bind(Request& request, const Placement& placement) {
  BRAID_CHECK(!request.bound);
  const DeviceState& prefill = state_.Device(placement.prefill);
  const DeviceState& decode = state_.Device(placement.decode);
  BRAID_CHECK(prefill.up && decode.up);
  --unbound_;
  request.bound = true;
  request.bound_at = state_.now;
  request.prefill_device = placement.prefill;
  request.decode_device = placement.decode;
  request.reason = placement.reason;
  request.ttft = placement.ttft;
  request.hinted = CachedFor(prefill);
  request.landing_hinted = CachedFor(decode);
  state_.VisitQueued(request, [&](uint32_t device, const QueuedWork& work) {
    state_.devices[device].queued += work;
  });
  if (request.deadline != kNever) {
    request.latest_start = LatestStart(request, prefill);
    latest_starts_.emplace(request.latest_start, request.id);
  }
  roles_.demand().Observe(
      request.size(),
      request.size() - std::min(request.hinted, request.size() - 1),
      request.max_output, ToSeconds(state_.ClassOf(request).pace()));
  state_.Log(DecisionKind::kPlaced, ToString(placement.reason), request,
             placement.ttft, placement.damage);
}

void Binder::Leave(Request& request) {
  Unbind(request);
  --unbound_;
}

void Binder::Unbind(Request& request) {
  if (!request.bound) return;
  state_.VisitQueued(request, [&](uint32_t device, const QueuedWork& work) {
    state_.devices[device].queued -= work;
  });
  if (request.deadline != kNever) {
    latest_starts_.erase({request.latest_start, request.id});
  }
  request.bound = false;
  ++unbound_;
}

void Binder::Rebind(Request& request) {
  if (request.optional_gang()) GiveUpGang(request);
  const std::optional<Placement> placement = Choose(request);
  if (request.bound && placement &&
      placement->prefill == request.prefill_device &&
      placement->decode == request.decode_device) {
    request.bound_at = state_.now;
    return;
  }
  Unbind(request);
  if (placement) Bind(request, *placement);
}

void Binder::RebindSome() {
  if (state_.queue.size() == 0 || (state_.devices.size() == 1 && unbound_ == 0))
    return;
  rebinding_.clear();
  size_t looked_at = 0;
  for (const QueueKey& key : state_.queue) {
    if (rebinding_.size() == kRebindsPerTurn || ++looked_at > kLookedAt) break;
    Request* request = state_.requests.Find(key.id);
    const bool gang_waits =
        request->bound && request->optional_gang() &&
        !forecast_.HasRoom(state_.Device(request->decode_device), *request);
    if (request->bound && !gang_waits &&
        request->bound_at + kRebindInterval > state_.now) {
      continue;
    }
    if (!request->bound || gang_waits || ShouldMove(*request))
      rebinding_.push_back(request);
  }
  for (Request* request : rebinding_) Rebind(*request);
}

bool Binder::ShouldMove(const Request& request) const {
  const DeviceState& prefill = state_.Device(request.prefill_device);
  const DeviceState& decode = state_.Device(request.decode_device);
  const bool prefill_busy = prefill.running || prefill.lent;
  const bool full = !forecast_.HasRoom(decode, request);
  for (const DeviceState& other : state_.devices) {
    if (!other.up) continue;
    if (prefill_busy && &other != &prefill && other.idle() && other.unused()) {
      return true;
    }
    if (full && &other != &decode && forecast_.HasRoom(other, request))
      return true;
  }
  return false;
}

// Waiting: the house is full.
void Binder::GiveUpGang(Request& request) {
  Unbind(request);
  SetGang(state_.config, request, nullptr, 1);
  state_.Log(DecisionKind::kStreams, "full-house", request, 1,
             state_.BlocksOf(request));
}

TimePoint Binder::LatestStart(const Request& request,
                              const DeviceState& prefill) const {
  if (request.deadline == kNever) return kNever;
  const double least =
      forecast_.IsWarm(prefill)
          ? forecast_.LeastSeconds(request, prefill, request.hinted)
          : 0;
  return request.deadline - FromSeconds(least);
}

Request* Binder::FirstTooLate() const {
  if (latest_starts_.empty() || latest_starts_.begin()->first >= state_.now) {
    return nullptr;
  }
  return state_.requests.Find(latest_starts_.begin()->second);
}

void Binder::Check(uint32_t unbound, size_t dated) const {
  BRAID_CHECK(unbound == unbound_ && dated == latest_starts_.size());
}

}  // namespace braid
