// What one seed means: machines, links and load, drawn wide (swarm testing:
// Groce et al., ISSTA'12), so that over many seeds every combination of modes
// is met. A request is a function of (seed, its number): leaving others out
// does not change it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "scheduler/service_class.h"
#include "scheduler/split.h"
#include "scheduler/step_time_model.h"
#include "scheduler/stream_terms.h"
#include "simulator/faults.h"

namespace braid {

// What the command line says about a run.
struct SimulationOptions {
  FaultSet faults = FaultSet::All();
  uint64_t max_faults = ~uint64_t{0};
  uint32_t nodes = 0;     // 0: the seed decides
  uint32_t requests = 0;  // 0: the seed decides, or `minutes` do
  double minutes = 0;     // of virtual time in which requests arrive; 0: no say
  // Only requests with these numbers arrive; empty: all.
  std::vector<uint32_t> only;
  int echo = -1;  // file descriptor that gets every event as a line
};
// The flags that say the same, each with a space before it.
std::string ToFlags(const SimulationOptions& options);

struct DeviceScenario {
  DeviceRole role = DeviceRole::kBoth;
  uint32_t arena = 0;
  uint32_t max_rows = 64;
  StepTimeModel::Prior time;
  double jitter = 0.1;
};

struct NodeScenario {
  std::vector<DeviceScenario> devices;
  std::vector<uint32_t> pool_blocks;
  SplitMode split = SplitMode::kAuto;
  uint32_t prefill_chunk = 32;
  uint32_t max_running = 32;
  uint32_t max_inbox = 64;
  std::vector<ServiceClass> classes;  // as many on every node
  uint32_t progress_layers = 1;
  bool lend_cores = true;
  bool prefix_cache = true;
  bool loopback = false;  // the production transport within one memory
  double bytes_per_second = 1e8;
  Duration latency{0};
  Duration timeout{0};
  uint32_t blocks_per_message = 4;
  uint32_t checked_share = 4;
  // The engine's thread wakes up to that late.
  Duration turn_delay{0};
};

enum class CancelStage : uint8_t {
  kNever,
  kAfter,    // some time after it was submitted
  kWaiting,  // as soon as it is in that state
  kPrefilling,
  kTransferring,
  kDecoding,
  kLingering,
};

struct RequestScenario {
  uint32_t number = 0;
  Duration arrival{0};  // since the start
  GenerateRequest request;
  Duration deadline{0};  // since its arrival; 0: none
  CancelStage cancel = CancelStage::kNever;
  Duration cancel_delay{0};
  // Tokens that the client takes before it is too slow.
  size_t takes = ~size_t{0};
};

struct Scenario {
  uint32_t block_tokens = 16;
  uint32_t max_context = 0;
  std::vector<StreamSet> stream_sets;  // of the model: the same on every node
  std::vector<NodeScenario> nodes;
  std::vector<RequestScenario> requests;
  bool placed_by_policy = false;  // else nodes take turns
  Duration length{0};             // until the last arrival
};

Scenario DrawScenario(uint64_t seed, const SimulationOptions& options,
                      FaultSource& faults);

}  // namespace braid
