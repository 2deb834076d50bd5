// Which node takes a request: the production policy (placement_policy.h) over
// the devices of all nodes, on what a gateway can know of them: queues, rows,
// free blocks and cached prefixes as the nodes tell them, step times as they
// are advertised.
//
// Threads: one.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "scheduler/placement_policy.h"
#include "simulator/hash_model.h"
#include "simulator/scenario.h"
#include "simulator/simulated_node.h"

namespace braid {

class GatewayPlacement final {
 public:
  // Both outlive it.
  GatewayPlacement(const Scenario& scenario,
                   std::vector<std::unique_ptr<SimulatedNode>>& nodes)
      : scenario_(scenario), nodes_(nodes) {}

  // Null: no node can take it.
  SimulatedNode* Pick(const GenerateRequest& request);

 private:
  void AddViews(SimulatedNode& node, const GenerateRequest& request);

  const Scenario& scenario_;
  std::vector<std::unique_ptr<SimulatedNode>>& nodes_;
  std::vector<std::vector<StepTimeModel>> times_;  // by node, then device
  std::vector<DeviceView> views_;
};

}  // namespace braid
