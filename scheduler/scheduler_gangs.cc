// Who runs its PARSCALE streams in lock-step, and what the KV of a stream may
// be shared by.
#include <algorithm>

#include "scheduler/request_keys.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// A gang is chosen where its prompt takes no more of the TTFT target than this,
// and its step no more of the token target.
constexpr double kGangTtftShare = 0.5, kGangTpotShare = 0.8;

}  // namespace

void Scheduler::SetGang(Request& request, const StreamSet* set, uint32_t gang) {
  request.set = set;
  request.gang = gang;
  request.streams.clear();
  for (uint32_t stream = 1; stream < gang; ++stream) {
    request.streams.emplace_back().keys =
        KeysOf(state_.config, request, stream);
  }
  request.keys = KeysOf(state_.config, request, 0);
  ExtendKeys(state_.config, request);
}

// On arrival. A fixed gang is what was asked for; of sets with one P, the
// largest that idle rows and blocks carry.
void Scheduler::ChooseGang(Request& request) {
  const StreamTerms& terms = request.terms;
  const bool streams = terms.mode != StreamMode::kOff && terms.max > 1;
  if (!streams || state_.config.stream_sets.empty()) {
    return SetGang(request, nullptr, 1);
  }
  if (terms.mode == StreamMode::kFixed) {
    return SetGang(request, GangSet(state_.config, terms), terms.max);
  }
  const StreamSet* largest = nullptr;
  bool smaller = false;  // there is one that does not fit
  for (const StreamSet& set : state_.config.stream_sets) {
    if (set.elastic) return SetGang(request, &set, 1);
    if (set.streams > terms.max) continue;
    if (largest != nullptr && set.streams <= largest->streams) continue;
    if (GangFits(request, set.streams)) {
      largest = &set;
    } else {
      smaller = true;
    }
  }
  SetGang(request, largest, largest == nullptr ? 1 : largest->streams);
  state_.Log(DecisionKind::kStreams,
             largest == nullptr ? "full-house"
             : smaller          ? "smaller-gang"
                                : "gang",
             request, request.gang, state_.BlocksOf(request));
}

bool Scheduler::GangFits(const Request& request, uint32_t gang) const {
  if (state_.queue.size() > 0) return false;
  const uint64_t blocks =
      uint64_t{gang} * state_.BlocksFor(request.positions());
  return std::ranges::any_of(state_.devices, [&](const DeviceState& device) {
    if (!device.up || !state_.MayRunGang(device, gang) ||
        !device.HasRows(gang) ||
        blocks > state_.PoolOf(device.config.pool).available()) {
      return false;
    }
    if (!forecast_.IsWarm(device)) return state_.running() == 0;
    const PromptWork prompt = PromptWork::Of(0, request.size(), gang);
    if (forecast_.PrefillWait(device, PromptWork()) +
            forecast_.PromptSeconds(device, prompt) >
        kGangTtftShare * ToSeconds(state_.ClassOf(request).ttft)) {
      return false;
    }
    StepShape step = device.DecodeShape();
    step.AddDecodeRow(request.size());
    for (uint32_t i = 1; i < gang; ++i) {
      step.AddStreamRows(request.size() - 1, 1);
    }
    return forecast_.TimeOf(device).Predict(step) <=
           kGangTpotShare * forecast_.TpotWith(device, request);
  });
}

// Waiting: the house is full.
void Scheduler::GiveUpGang(Request& request) {
  Unbind(request);
  SetGang(request, nullptr, 1);
  state_.Log(DecisionKind::kStreams, "full-house", request, 1,
             state_.BlocksOf(request));
}

}  // namespace braid
