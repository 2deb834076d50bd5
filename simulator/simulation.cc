#include "simulator/simulation.h"

#include "absl/strings/str_cat.h"

namespace braid {
namespace {

// A run that takes more for each of its requests goes round in circles.
constexpr uint64_t kMostEventsPerRequest = 100'000;
// Virtual time, as well: far more than any scenario needs.
constexpr Duration kLongestRun = std::chrono::hours(24);

Duration Micros(uint64_t micros) {
  return std::chrono::microseconds(static_cast<int64_t>(micros));
}

}  // namespace

Simulation::Simulation(uint64_t seed, const SimulationOptions& options)
    : world_(seed, options.faults, options.max_faults),
      scenario_(DrawScenario(seed, options, world_.faults)),
      clients_(world_, scenario_, nodes_),
      events_(world_.queue) {
  world_.log.EchoTo(options.echo);
  for (uint32_t i = 0; i < scenario_.nodes.size(); ++i) {
    nodes_.push_back(std::make_unique<SimulatedNode>(
        world_, scenario_, i,
        [this](SimulatedNode& node) { clients_.AfterTurn(node); }));
  }
}

void Simulation::Run() {
  clients_.Start();
  ScheduleTrouble();
  const uint64_t most = kMostEventsPerRequest * (scenario_.requests.size() + 1);
  while (!world_.log.violated()) {
    for (const auto& node : nodes_) node->Settle();
    if (!world_.queue.RunNext()) break;
    if (events() > most ||
        world_.queue.now().time_since_epoch() > kLongestRun) {
      world_.log.Violate("does not come to rest");
    }
  }
  if (world_.log.violated()) return;
  clients_.CheckAtRest();
  for (const auto& node : nodes_) node->CheckAtRest();
}

std::vector<Duration> Simulation::Strikes(FaultKind kind, double share) {
  std::vector<Duration> strikes;
  const Duration second = std::chrono::seconds(1);
  for (Duration at{0}; at <= scenario_.length; at += second) {
    const Duration most = std::min(second, scenario_.length - at + second / 4);
    if (!world_.faults.Happens(kind, share)) continue;
    strikes.push_back(at +
                      Micros(world_.faults.Below(
                          kind, static_cast<uint64_t>(most.count() / 1000))));
  }
  return strikes;
}

void Simulation::ScheduleTrouble() {
  FaultSource& faults = world_.faults;
  for (const auto& owned : nodes_) {
    SimulatedNode& node = *owned;
    for (size_t i = 0; i < node.spec().devices.size(); ++i) {
      ScheduleDeviceTrouble(node, i);
    }
    for (Duration at : Strikes(FaultKind::kNodeCrash, 0.15)) {
      events_.After(at, [this, i = node.index()] { CrashNode(i); });
    }
    for (Duration at : Strikes(FaultKind::kClockJump, 0.3)) {
      const uint64_t micros = 1 + faults.Below(FaultKind::kClockJump, 500'000);
      events_.After(at, [this, &node, micros] {
        world_.Log(node.index(), LogKind::kClockJump,
                   static_cast<int64_t>(micros));
        node.clock().Jump(Micros(micros));
      });
    }
  }
  // The whole machine stood still.
  for (Duration at : Strikes(FaultKind::kClockJump, 0.2)) {
    const uint64_t micros = 1 + faults.Below(FaultKind::kClockJump, 500'000);
    events_.After(at, [this, micros] {
      world_.Log(0, LogKind::kClockJump, static_cast<int64_t>(micros));
      world_.queue.Jump(Micros(micros));
    });
  }
}

void Simulation::ScheduleDeviceTrouble(SimulatedNode& node, size_t device) {
  FaultSource& faults = world_.faults;
  for (Duration at : Strikes(FaultKind::kDeviceCrash, 0.2)) {
    const Duration away =
        Micros(1 + faults.Below(FaultKind::kDeviceCrash, 300'000));
    events_.After(at, [&node, device] { node.CrashDevice(device); });
    events_.After(at + away, [&node, device] { node.ReturnDevice(device); });
  }
  for (Duration at : Strikes(FaultKind::kSlowDevice, 0.3)) {
    const auto factor =
        static_cast<double>(2 + faults.Below(FaultKind::kSlowDevice, 20));
    const Duration during =
        Micros(1 + faults.Below(FaultKind::kSlowDevice, 500'000));
    events_.After(at,
                  [&node, device, factor] { node.SlowDown(device, factor); });
    events_.After(at + during, [&node, device] { node.SlowDown(device, 1); });
  }
}

void Simulation::CrashNode(uint32_t node) {
  if (!nodes_[node]->up()) return;
  clients_.Forget(node);
  nodes_[node]->Crash();
  clients_.Replay(node);
  const Duration away =
      Micros(1 + world_.faults.Below(FaultKind::kNodeCrash, 400'000));
  events_.After(away, [this, node] {
    if (nodes_[node]->up()) return;
    world_.Log(node, LogKind::kNodeBack);
    nodes_[node]->Start();
  });
}

std::string Simulation::Describe() const {
  std::string text = absl::StrCat(scenario_.requests.size(), " requests in ",
                                  ToSeconds(scenario_.length), " s, blocks of ",
                                  scenario_.block_tokens, " tokens, context ",
                                  scenario_.max_context);
  for (const auto& node : nodes_) {
    const NodeScenario& spec = node->spec();
    absl::StrAppend(&text, "; node ", node->index(), ": split ",
                    ToString(spec.split), spec.loopback ? ", loopback" : "");
    for (const DeviceScenario& device : spec.devices) {
      absl::StrAppend(&text, ", ", ToString(device.role), " in pool ",
                      device.arena, " of ", spec.pool_blocks[device.arena]);
    }
  }
  return text;
}

}  // namespace braid
