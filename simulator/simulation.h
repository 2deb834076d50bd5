// One run of one seed: a cluster, its load, its faults, and the checkers, which
// look after every event. Equal (seed, options) make equal runs, to the last
// event: the digest says so.
//
// Threads: one; runs in parallel are processes (seed_swarm.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "simulator/clients.h"
#include "simulator/scenario.h"
#include "simulator/simulated_node.h"
#include "simulator/world.h"

namespace braid {

class Simulation final {
 public:
  Simulation(uint64_t seed, const SimulationOptions& options);

  // Until nothing happens any more, or something is wrong: then
  // log().violated().
  void Run();

  const EventLog& log() const { return world_.log; }
  uint64_t events() const { return world_.queue.executed(); }
  uint64_t faults() const { return world_.faults.injected(); }
  const FaultSource& fault_source() const { return world_.faults; }
  // A line about machines and load.
  std::string Describe() const;

 private:
  void ScheduleTrouble();
  void ScheduleDeviceTrouble(SimulatedNode& node, size_t device);
  void CrashNode(uint32_t node);
  // Times at which faults of a kind strike: `share` of them in each second.
  std::vector<Duration> Strikes(FaultKind kind, double share);

  World world_;
  const Scenario scenario_;
  std::vector<std::unique_ptr<SimulatedNode>> nodes_;
  Clients clients_;
  EventScope events_;
};

}  // namespace braid
