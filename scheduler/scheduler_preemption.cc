// Preemption, the last resort: a waiting request of a better class would miss
// its target, since blocks or a row are held by requests of a lower one. They
// go back to the queue with their tokens, to be computed again. Everything here
// is const.
//
// Only the first request that waits for the device's blocks is helped: whatever
// is freed is its own. And only requests that stand behind it in the order of
// service are victims, so that they do not take back what they gave; twice at
// most, so that each of them gets on.
#include <algorithm>

#include "scheduler/scheduler.h"

namespace braid {
namespace {

constexpr uint8_t kMostPreemptions = 2;
constexpr size_t kMostVictims = 8;
constexpr size_t kLookahead = 16;

}  // namespace

void Scheduler::PlanPreemption(const DeviceState& own, TimePoint now,
                               StepPlan& plan) const {
  if (state_.queue.size() == 0 || own.decoding.empty()) return;
  const std::optional<Shortage> shortage = FirstShort(own, now);
  if (!shortage) return;

  uint32_t blocks = 0, rows = 0;
  while (blocks < shortage->blocks || rows < shortage->rows) {
    const Request* victim = nullptr;
    double cost = 0;
    if (plan.preempted.size() < kMostVictims) {
      for (const DecodeRow& row : own.decoding) {
        const Request& request = state_.requests.at(row.slot);
        if (!MayPreempt(request, *shortage->request) ||
            std::ranges::find(plan.preempted, request.id,
                              &Preemption::request) != plan.preempted.end()) {
          continue;
        }
        const double seconds = forecast_.PromptSeconds(
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
    blocks += HeldAlone(*victim);
    rows += victim->gang;
  }
}

// Whether requests of lower classes hold there what it lacks behind `ahead`.
bool Scheduler::CanPreemptFor(const DeviceState& device, const Request& request,
                              const QueuedByDevice& ahead) const {
  const uint64_t needed = state_.PromisedBlocks(device.config.pool, &ahead) +
                          state_.BlocksOf(request);
  uint64_t found = state_.PoolOf(device.config.pool).available();
  uint32_t victims = 0;
  for (const DecodeRow& row : device.decoding) {
    const Request& victim = state_.requests.at(row.slot);
    if (!MayPreempt(victim, request)) continue;
    found += HeldAlone(victim);
    victims += victim.gang;
    if (found >= needed && victims > ahead[device.index].rows) return true;
  }
  return false;
}

// Blocks that are likely to be free when it gives up its own.
uint32_t Scheduler::HeldAlone(const Request& request) const {
  return request.gang * (static_cast<uint32_t>(request.blocks.blocks().size()) -
                         std::min(request.cached, request.computed) /
                             state_.config.block_tokens);
}

bool Scheduler::MayPreempt(const Request& victim, const Request& waiting) {
  return victim.service_class > waiting.service_class &&
         victim.key > waiting.key && victim.preemptions < kMostPreemptions;
}

// What the first request that waits for `own`'s blocks or rows lacks, if it
// will miss its target without them.
std::optional<Scheduler::Shortage> Scheduler::FirstShort(const DeviceState& own,
                                                         TimePoint now) const {
  size_t looked_at = 0;
  for (const QueueKey& key : state_.queue) {
    if (++looked_at > kLookahead) break;
    const Request& request = *state_.requests.Find(key.id);
    if (!request.bound || request.decode_device != own.config.id) continue;
    const Need need =
        NeedOf(request, request.hinted / state_.config.block_tokens,
               request.landing_hinted / state_.config.block_tokens);
    const uint32_t available = state_.PoolOf(own.config.pool).available();
    const uint32_t wanted = need.decode > 0 ? need.decode : need.prefill;
    Shortage shortage{.request = &request};
    shortage.blocks = wanted > available ? wanted - available : 0;
    const bool short_of_rows =
        !own.HasRows(request.gang) ||
        state_.running() >= state_.config.max_running ||
        !forecast_.RowFits(own, own.DecodeShape(), request);
    shortage.rows = short_of_rows ? request.gang : 0;
    if (shortage.blocks == 0 && shortage.rows == 0) return std::nullopt;
    shortage.wait = forecast_.CreditWait(own, request,
                                         QueuedByDevice(state_.devices.size()));
    const double first =
        shortage.wait +
        forecast_.PromptSeconds(
            own, PromptWork::Of(request.hinted, request.size(), request.gang));
    const double left =
        ToSeconds(request.arrival + state_.ClassOf(request).ttft - now);
    if (first <= left) return std::nullopt;
    return shortage;
  }
  return std::nullopt;
}

}  // namespace braid
