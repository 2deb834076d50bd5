#include "scheduler/preemption.h"

#include <algorithm>
#include <optional>

#include "scheduler/admission_planner.h"

namespace braid {
namespace {

constexpr uint8_t kMostPreemptions = 2;
constexpr size_t kMostVictims = 8;
constexpr size_t kLookahead = 16;

// What a request lacks where it is to decode.
struct Shortage {
  const Request* request = nullptr;
  uint32_t blocks = 0, rows = 0;
  double wait = 0;  // seconds, predicted
};

// Blocks that are likely to be free when it gives up its own.
uint32_t HeldAlone(const SchedulerConfig& config, const Request& request) {
  return request.gang *
         (static_cast<uint32_t>(request.blocks.blocks().size()) -
          std::min(request.cached, request.computed) / config.block_tokens);
}

bool MayPreempt(const Request& victim, const Request& waiting) {
  return victim.service_class > waiting.service_class &&
         victim.key > waiting.key && victim.preemptions < kMostPreemptions;
}

// What the first request that waits for `own`'s blocks or rows lacks, if it
// will miss its target without them.
std::optional<Shortage> FirstShort(const SchedulerState& state,
                                   const Forecast& forecast,
                                   const DeviceState& own, TimePoint now) {
  size_t looked_at = 0;
  for (const QueueKey& key : state.queue) {
    if (++looked_at > kLookahead) break;
    const Request& request = *state.requests.Find(key.id);
    if (!request.bound || request.decode_device != own.config.id) continue;
    const BlockNeed need =
        NeedOf(state, request, request.hinted / state.config.block_tokens,
               request.landing_hinted / state.config.block_tokens);
    const uint32_t available = state.PoolOf(own.config.pool).available();
    const uint32_t wanted = need.decode > 0 ? need.decode : need.prefill;
    Shortage shortage{.request = &request};
    shortage.blocks = wanted > available ? wanted - available : 0;
    const bool short_of_rows =
        !own.HasRows(request.gang) ||
        state.running() >= state.config.max_running ||
        !forecast.RowFits(own, own.DecodeShape(), request);
    shortage.rows = short_of_rows ? request.gang : 0;
    if (shortage.blocks == 0 && shortage.rows == 0) return std::nullopt;
    shortage.wait =
        forecast.CreditWait(own, request, QueuedByDevice(state.devices.size()));
    const double first =
        shortage.wait +
        forecast.PromptSeconds(
            own, PromptWork::Of(request.hinted, request.size(), request.gang));
    const double left =
        ToSeconds(request.arrival + state.ClassOf(request).ttft - now);
    if (first <= left) return std::nullopt;
    return shortage;
  }
  return std::nullopt;
}

}  // namespace

void PlanPreemption(const SchedulerState& state, const DeviceState& own,
                    TimePoint now, StepPlan& plan) {
  if (state.queue.size() == 0 || own.decoding.empty()) return;
  const Forecast forecast(state);
  const std::optional<Shortage> shortage =
      FirstShort(state, forecast, own, now);
  if (!shortage) return;

  uint32_t blocks = 0, rows = 0;
  while (blocks < shortage->blocks || rows < shortage->rows) {
    const Request* victim = nullptr;
    double cost = 0;
    if (plan.preempted.size() < kMostVictims) {
      for (const DecodeRow& row : own.decoding) {
        const Request& request = state.requests.at(row.slot);
        if (!MayPreempt(request, *shortage->request) ||
            plan.preempts(request.id)) {
          continue;
        }
        const double seconds = forecast.PromptSeconds(
            own, PromptWork::Of(0, request.size(), request.gang));
        if (victim == nullptr || seconds < cost) {
          victim = &request;
          cost = seconds;
        }
      }
    }
    if (victim == nullptr) {  // It would not be enough: leave all alone.
      plan.preempted.clear();
      return;
    }
    plan.preempted.push_back({.request = victim->id,
                              .slot = victim->slot,
                              .cost = cost,
                              .gain = shortage->wait});
    blocks += HeldAlone(state.config, *victim);
    rows += victim->gang;
  }
}

bool CanPreemptFor(const SchedulerState& state, const DeviceState& device,
                   const Request& request, const QueuedByDevice& ahead) {
  const uint64_t needed = state.PromisedBlocks(device.config.pool, &ahead) +
                          state.BlocksOf(request);
  uint64_t found = state.PoolOf(device.config.pool).available();
  uint32_t victims = 0;
  for (const DecodeRow& row : device.decoding) {
    const Request& victim = state.requests.at(row.slot);
    if (!MayPreempt(victim, request)) continue;
    found += HeldAlone(state.config, victim);
    victims += victim.gang;
    if (found >= needed && victims > ahead[device.index].rows) return true;
  }
  return false;
}

}  // namespace braid
