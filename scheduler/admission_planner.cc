#include "scheduler/admission_planner.h"

#include <algorithm>

#include "scheduler/request_keys.h"

namespace braid {
namespace {

// Of the queue, looked at for a device's plan.
constexpr size_t kLookahead = 64;

}  // namespace

BlockNeed NeedOf(const SchedulerState& state, const Request& request,
                 uint32_t shared, uint32_t landing) {
  const uint32_t all = state.BlocksFor(request.positions());
  if (state.pool_of(request.prefill_device) ==
      state.pool_of(request.decode_device)) {
    return {.prefill = request.gang * (all - shared)};
  }
  return {.prefill = state.BlocksFor(request.size()) - shared,
          .decode = all - landing};
}

AdmissionPlanner::Ledger AdmissionPlanner::OpenLedger() const {
  Ledger ledger;
  for (const auto& pool : state_.pools) {
    const PoolId id = pool->blocks().id();
    ledger.blocks.push_back(pool->index().available() +
                            state_.ReclaimableNow(id));
    ledger.pool_closed.push_back(false);
  }
  for (const DeviceState& device : state_.devices) {
    ledger.rows.push_back(device.DecodeShape());
    ledger.device_closed.push_back(false);
  }
  ledger.running = state_.running();
  return ledger;
}

// Whoever does not fit closes what it waits for to all behind it: they could
// take it forever. What other devices will start stays on the ledger.
void AdmissionPlanner::ForEach(
    const DeviceState& own,
    absl::FunctionRef<bool(const Request&, const Admission&)> admit) const {
  if (state_.queue.size() == 0 ||
      state_.running() >= state_.config.max_running) {
    return;
  }
  Ledger ledger = OpenLedger();
  size_t looked_at = 0;
  for (const QueueKey& key : state_.queue) {
    if (++looked_at > kLookahead ||
        ledger.running >= state_.config.max_running) {
      return;
    }
    const Request& request = *state_.requests.Find(key.id);
    if (!request.bound) continue;
    // With what was known of it when it was bound: looking its prompt up again
    // costs more than all else here.
    const BlockNeed guess =
        NeedOf(state_, request, request.hinted / state_.config.block_tokens,
               request.landing_hinted / state_.config.block_tokens);
    if (!Take(ledger, request, guess)) {
      if (std::ranges::find(ledger.pool_closed, false) ==
          ledger.pool_closed.end()) {
        return;
      }
      continue;
    }
    if (request.prefill_device != own.config.id) continue;
    if (!Exact(request, guess, ledger, admission_)) continue;
    if (!admit(request, admission_)) return;
  }
}

bool AdmissionPlanner::HasAny(const DeviceState& device) const {
  if (device.queued.prompts.requests == 0) return false;
  bool any = false;
  ForEach(device, [&](const Request&, const Admission&) {
    any = true;
    return false;
  });
  return any;
}

// Takes what it needs from the ledger. False: something is short, and closed.
bool AdmissionPlanner::Take(Ledger& ledger, const Request& request,
                            const BlockNeed& need) const {
  const DeviceState& decode = state_.Device(request.decode_device);
  const uint32_t in_prefill = state_.pool_of(request.prefill_device).value();
  const uint32_t in_decode = decode.config.pool.value();
  if (ledger.pool_closed[in_prefill] || ledger.pool_closed[in_decode] ||
      ledger.blocks[in_prefill] < need.prefill ||
      ledger.blocks[in_decode] < need.decode) {
    ledger.pool_closed[in_prefill] = ledger.pool_closed[in_decode] = true;
    return false;
  }
  // Its blocks are kept for it, though it waits for a row.
  ledger.blocks[in_prefill] -= need.prefill;
  ledger.blocks[in_decode] -= need.decode;
  StepShape& rows = ledger.rows[decode.index];
  if (ledger.device_closed[decode.index] ||
      rows.rows() + request.gang >= decode.config.max_rows ||
      !forecast_.RowFits(decode, rows, request)) {
    ledger.device_closed[decode.index] = true;
    return false;
  }
  AddRowsOf(request, rows);
  ++ledger.running;
  return true;
}

// The admission itself, its cached prefix looked up now. The ledger is put
// right by what differs from the guess; false, when that is too much. Lends the
// admission's memory: the head of a queue may be looked at in every plan.
bool AdmissionPlanner::Exact(const Request& request, const BlockNeed& guess,
                             Ledger& ledger, Admission& admission) const {
  const PoolId prefill = state_.pool_of(request.prefill_device);
  const PoolId decode = state_.pool_of(request.decode_device);
  admission.request = request.id;
  admission.slot = request.slot;
  admission.prefill = request.prefill_device;
  admission.decode = request.decode_device;
  admission.reason = request.reason;
  // The last token is always computed: its logits are wanted.
  MatchPrefix(request, prefill, request.size() - 1, admission.shared);
  admission.streams_shared.clear();
  if (request.gang > 1) ShareAlike(request, prefill, admission);
  admission.landing_shared.clear();
  if (prefill != decode) {
    MatchPrefix(request, decode, request.size(), admission.landing_shared);
  }
  // Sharing a cached block takes it from what could be evicted.
  const auto revived = [&](const std::vector<BlockId>& shared, PoolId pool) {
    return static_cast<uint32_t>(
        std::ranges::count_if(shared, [&](BlockId block) {
          return state_.PoolOf(pool).blocks().state(block) ==
                 BlockState::kCached;
        }));
  };
  const BlockNeed need =
      NeedOf(state_, request, static_cast<uint32_t>(admission.shared.size()),
             static_cast<uint32_t>(admission.landing_shared.size()));
  admission.taken = need.prefill;
  admission.landing_taken = need.decode;
  const auto settle = [&](PoolId pool, uint32_t guessed, uint32_t needed) {
    uint32_t& left = ledger.blocks[pool.value()];
    left += guessed;
    if (needed > left) {
      left = 0;
      ledger.pool_closed[pool.value()] = true;
      return false;
    }
    left -= needed;
    return true;
  };
  return settle(prefill, guess.prefill,
                need.prefill + revived(admission.shared, prefill) +
                    revived(admission.streams_shared, prefill)) &&
         (prefill == decode ||
          settle(decode, guess.decode,
                 need.decode + revived(admission.landing_shared, decode)));
}

// A gang is in lock-step: all its streams begin behind what the least of them
// finds.
void AdmissionPlanner::ShareAlike(const Request& request, PoolId pool,
                                  Admission& admission) const {
  const auto tokens = std::span(request.tokens).first(request.size() - 1);
  std::vector<BlockId>& shared = admission.streams_shared;
  size_t least = admission.shared.size();
  absl::InlinedVector<size_t, kMostStreams> found;  // by each, in `shared`
  for (const RequestStream& stream : request.streams) {
    if (least == 0) break;
    stream_match_ = state_.PoolOf(pool).index().Match(
        stream.keys, tokens.first(least * state_.config.block_tokens),
        std::move(stream_match_));
    least = stream_match_.blocks.size();
    found.push_back(least);
    shared.insert(shared.end(), stream_match_.blocks.begin(),
                  stream_match_.blocks.end());
  }
  admission.shared.resize(least);
  // Of each its first ones, together.
  auto from = shared.begin(), to = shared.begin();
  for (const size_t blocks : found) {
    to = std::copy_n(from, least, to);
    from += static_cast<std::ptrdiff_t>(blocks);
  }
  shared.erase(to, shared.end());
}

void AdmissionPlanner::MatchPrefix(const Request& request, PoolId id,
                                   uint32_t tokens,
                                   std::vector<BlockId>& blocks) const {
  if (!MaySkip(state_.config, request, tokens)) return blocks.clear();
  PrefixMatch match = state_.PoolOf(id).index().Match(
      request.keys, std::span(request.tokens).first(tokens),
      {.blocks = std::move(blocks)});
  blocks = std::move(match.blocks);
}

}  // namespace braid
