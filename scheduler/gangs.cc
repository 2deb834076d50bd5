#include "scheduler/gangs.h"

#include <algorithm>

#include "scheduler/forecast.h"
#include "scheduler/request_keys.h"

namespace braid {
namespace {

// A gang is chosen where its prompt takes no more of the TTFT target than this,
// and its step no more of the token target.
constexpr double kGangTtftShare = 0.5, kGangTpotShare = 0.8;

// Idle rows and blocks carry it.
bool GangFits(const SchedulerState& state, const Request& request,
              uint32_t gang) {
  if (state.queue.size() > 0) return false;
  const Forecast forecast(state);
  const uint64_t blocks = uint64_t{gang} * state.BlocksFor(request.positions());
  return std::ranges::any_of(state.devices, [&](const DeviceState& device) {
    if (!device.up || !state.MayRunGang(device, gang) ||
        !device.HasRows(gang) ||
        blocks > state.PoolOf(device.config.pool).available()) {
      return false;
    }
    if (!forecast.IsWarm(device)) return state.running() == 0;
    const PromptWork prompt = PromptWork::Of(0, request.size(), gang);
    if (forecast.PrefillWait(device, PromptWork()) +
            forecast.PromptSeconds(device, prompt) >
        kGangTtftShare * ToSeconds(state.ClassOf(request).ttft)) {
      return false;
    }
    StepShape step = device.DecodeShape();
    step.AddDecodeRow(request.size());
    for (uint32_t i = 1; i < gang; ++i) {
      step.AddStreamRows(request.size() - 1, 1);
    }
    return forecast.TimeOf(device).Predict(step) <=
           kGangTpotShare * forecast.TpotWith(device, request);
  });
}

}  // namespace

void SetGang(const SchedulerConfig& config, Request& request,
             const StreamSet* set, uint32_t gang) {
  request.set = set;
  request.gang = gang;
  request.streams.clear();
  for (uint32_t stream = 1; stream < gang; ++stream) {
    request.streams.emplace_back().keys = KeysOf(config, request, stream);
  }
  request.keys = KeysOf(config, request, 0);
  ExtendKeys(config, request);
}

void ChooseGang(SchedulerState& state, Request& request) {
  const StreamTerms& terms = request.terms;
  const bool streams = terms.mode != StreamMode::kOff && terms.max > 1;
  if (!streams || state.config.stream_sets.empty()) {
    return SetGang(state.config, request, nullptr, 1);
  }
  if (terms.mode == StreamMode::kFixed) {
    return SetGang(state.config, request, GangSet(state.config, terms),
                   terms.max);
  }
  const StreamSet* largest = nullptr;
  bool smaller = false;  // there is one that does not fit
  for (const StreamSet& set : state.config.stream_sets) {
    if (set.elastic) return SetGang(state.config, request, &set, 1);
    if (set.streams > terms.max) continue;
    if (largest != nullptr && set.streams <= largest->streams) continue;
    if (GangFits(state, request, set.streams)) {
      largest = &set;
    } else {
      smaller = true;
    }
  }
  SetGang(state.config, request, largest,
          largest == nullptr ? 1 : largest->streams);
  state.Log(DecisionKind::kStreams,
            largest == nullptr ? "full-house"
            : smaller          ? "smaller-gang"
                               : "gang",
            request, request.gang, state.BlocksOf(request));
}

}  // namespace braid
