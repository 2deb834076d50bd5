// One machine: the production engine loop on simulated runners and a simulated
// transport (or the production loopback), turned by hand in virtual time.
//
// The loop is turned only when its own thread would have woken up: when it was
// active, has mail, or a deadline has come. So a wake-up that is lost leaves
// its requests where they are, and the run ends with them unfinished.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/engine_loop.h"
#include "simulator/scenario.h"
#include "simulator/simulated_runner.h"
#include "simulator/simulated_transport.h"
#include "simulator/world.h"

namespace braid {

class SimulatedNode final {
 public:
  // `after_turn` is called when the loop has turned.
  SimulatedNode(World& world, const Scenario& scenario, uint32_t index,
                std::function<void(SimulatedNode&)> after_turn);
  ~SimulatedNode();

  uint32_t index() const { return index_; }
  bool up() const { return loop_ != nullptr; }
  // How often it was started: ids of requests mean nothing to the next.
  uint32_t incarnation() const { return incarnation_; }
  EngineLoop& loop() { return *loop_; }  // REQUIRES: up()
  VirtualClock& clock() { return clock_; }
  const NodeScenario& spec() const { return spec_; }

  // Makes an engine of nothing. REQUIRES: !up().
  void Start();
  // All devices and all memory are gone at once. What the sinks are told on
  // the way is for nobody. REQUIRES: up().
  void Crash();

  // Its steps fail until it returns; a memory of its own is lost, and what is
  // on its way from there or to it.
  void CrashDevice(size_t device);
  void ReturnDevice(size_t device);
  void SlowDown(size_t device, double factor);

  // After every event: makes sure that a turn is due when one is needed.
  void Settle();
  // Nothing runs: every block is free or cached, nothing is on its way.
  void CheckAtRest();

 private:
  std::unique_ptr<KvTransport> MakeTransport(std::function<void()> wake);
  bool OwnsMemory(size_t device) const;
  void Turn();
  void Check();
  void Violate(std::string what);

  World& world_;
  const Scenario& scenario_;
  const NodeScenario& spec_;
  const uint32_t index_;
  const std::function<void(SimulatedNode&)> after_turn_;
  VirtualClock clock_;
  std::vector<SimulatedRunner*> runners_;    // of loop_
  std::vector<const KvArena*> arenas_;       // of loop_
  SimulatedTransport* transport_ = nullptr;  // of loop_; null: loopback
  std::unique_ptr<EngineLoop> loop_;
  std::unique_ptr<EventScope> events_;
  uint32_t incarnation_ = 0;
  bool active_ = false;  // the last turn was
  bool turn_due_ = false;
  TimePoint armed_ = kNever;  // a look at the deadlines is due then
};

}  // namespace braid
