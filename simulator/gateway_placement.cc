#include "simulator/gateway_placement.h"

#include <algorithm>

#include "base/hash.h"

namespace braid {
namespace {

// Ids of devices and pools are unique within a node only.
constexpr uint32_t kMostDevices = 1024;

}  // namespace

SimulatedNode* GatewayPlacement::Pick(const GenerateRequest& request) {
  if (times_.empty()) {
    for (const NodeScenario& node : scenario_.nodes) {
      std::vector<StepTimeModel>& models = times_.emplace_back();
      for (const DeviceScenario& device : node.devices) {
        models.emplace_back(device.time);
      }
    }
  }
  views_.clear();
  for (const auto& node : nodes_) {
    if (node->up()) AddViews(*node, request);
  }
  if (views_.empty()) return nullptr;
  const auto prompt = static_cast<uint32_t>(request.prompt.size());
  const PlacementQuery query{
      .prompt_tokens = prompt,
      .expected_output = request.max_tokens,
      .blocks = (prompt + request.max_tokens) / scenario_.block_tokens + 1,
      .ttft_target = 1,
      .tpot_target = 0.1,
      .split = SplitMode::kAuto,
      .max_chunk = 32,
      .devices = views_,
      .transfer = [this](PoolId from, PoolId to, uint32_t tokens) {
        if (from == to) return 0.0;
        const uint32_t node = from.value() / kMostDevices;
        if (node != to.value() / kMostDevices) return kNoLink;
        const NodeScenario& spec = scenario_.nodes[node];
        const auto bytes = static_cast<double>(
            hash_model::Layout(scenario_.block_tokens).block_bytes() * tokens /
            scenario_.block_tokens);
        return bytes / spec.bytes_per_second + ToSeconds(spec.latency);
      }};
  const std::optional<Placement> placement = ChoosePlacement(query);
  if (!placement) return nullptr;
  return nodes_[placement->decode.value() / kMostDevices].get();
}

void GatewayPlacement::AddViews(SimulatedNode& node,
                                const GenerateRequest& request) {
  const Scheduler& scheduler = node.loop().scheduler();
  const auto& devices = node.spec().devices;
  const auto count = static_cast<uint32_t>(devices.size());
  const uint32_t waiting = scheduler.count(RequestState::kWaiting) +
                           scheduler.count(RequestState::kPrefilling);
  const uint32_t decoding = scheduler.count(RequestState::kTransferring) +
                            scheduler.count(RequestState::kDecoding);
  const uint64_t seed =
      Hash64Of(std::span<const uint64_t>({uint64_t{0}, request.cache_salt}));
  for (uint32_t i = 0; i < count; ++i) {
    const PoolId pool(devices[i].arena);
    const BlockPool& blocks = scheduler.pool(pool);
    const StepTimeModel& time = times_[node.index()][i];
    // The average prompt of those that wait is taken to be like this one.
    const auto queued =
        waiting * static_cast<uint32_t>(request.prompt.size()) / count;
    StepShape shape;
    shape.AddChunk(0, queued);
    views_.push_back(
        {.id = DeviceId(node.index() * kMostDevices + i),
         .node = node.index(),
         .pool = PoolId(node.index() * kMostDevices + pool.value()),
         .role = devices[i].role,
         .prefill_wait = queued > 0 ? time.Predict(shape) : 0,
         .cached_tokens =
             scheduler.index(pool)
                 .Match(
                     seed,
                     std::span(request.prompt).first(request.prompt.size() - 1))
                 .tokens,
         .all_blocks = blocks.capacity(),
         .queued_tokens = queued,
         .decode_rows = decoding / count,
         .time = &time});
  }
}

}  // namespace braid
