#include "simulator/simulated_node.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kvcache/transport/loopback_transport.h"
#include "simulator/hash_model.h"

namespace braid {
namespace {

// A loop that is torn down is at rest within that many turns.
constexpr int kMostLastTurns = 1000;

}  // namespace

SimulatedNode::SimulatedNode(World& world, const Scenario& scenario,
                             uint32_t index,
                             std::function<void(SimulatedNode&)> after_turn)
    : world_(world),
      scenario_(scenario),
      spec_(scenario.nodes[index]),
      index_(index),
      after_turn_(std::move(after_turn)),
      clock_(world.queue) {
  Start();
}

SimulatedNode::~SimulatedNode() {
  // What is wrong with a run that failed must not fail again.
  if (world_.log.violated()) static_cast<void>(loop_.release());
}

std::unique_ptr<KvTransport> SimulatedNode::MakeTransport(
    std::function<void()> wake) {
  transport_ = nullptr;
  if (spec_.loopback) {
    return std::make_unique<LoopbackTransport>(
        TransportOptions{.wake = std::move(wake)});
  }
  SimulatedTransportOptions options;
  options.common.wake = std::move(wake);
  options.node = index_;
  options.bytes_per_second = spec_.bytes_per_second;
  options.latency = spec_.latency;
  options.timeout = spec_.timeout;
  options.blocks_per_message = spec_.blocks_per_message;
  options.checked_share = spec_.checked_share;
  options.reachable = [this](PoolId pool) {
    for (size_t i = 0; i < runners_.size(); ++i) {
      const bool here = spec_.devices[i].arena == pool.value();
      if (here && OwnsMemory(i) && !runners_[i]->reachable()) return false;
    }
    return true;
  };
  options.awaited = [this](PoolId pool, BlockId block) {
    return loop_->scheduler().pool(pool).state(block) == BlockState::kReserved;
  };
  auto transport =
      std::make_unique<SimulatedTransport>(std::move(options), world_);
  transport_ = transport.get();
  return transport;
}

void SimulatedNode::Start() {
  BRAID_CHECK(loop_ == nullptr);
  ++incarnation_;
  EngineConfig config;
  runners_.clear();
  arenas_.clear();
  for (uint32_t blocks : spec_.pool_blocks) {
    auto arena =
        KvArena::Create(hash_model::Layout(scenario_.block_tokens), blocks);
    BRAID_CHECK_MSG(arena.ok(), arena.status().ToString());
    arenas_.push_back(arena->get());
    config.arenas.push_back(*std::move(arena));
  }
  auto cores = std::make_shared<BusyCores>();
  for (uint32_t i = 0; i < spec_.devices.size(); ++i) {
    const DeviceScenario& device = spec_.devices[i];
    auto runner = std::make_unique<SimulatedRunner>(
        SimulatedRunnerOptions{.node = index_,
                               .id = DeviceId(i),
                               .arena = arenas_[device.arena],
                               .cores = cores,
                               .max_rows = device.max_rows,
                               .time = device.time,
                               .jitter = device.jitter,
                               .stream_sets = scenario_.stream_sets},
        world_);
    runners_.push_back(runner.get());
    config.devices.push_back({.id = DeviceId(i),
                              .name = absl::StrCat("simulated:", i),
                              .role = device.role,
                              .runner = std::move(runner),
                              .arena = device.arena});
  }
  config.make_transport = [this](std::function<void()> wake) {
    return MakeTransport(std::move(wake));
  };
  config.tokenizer = &hash_model::Vocabulary();
  config.clock = &clock_;
  config.split = spec_.split;
  config.max_context = scenario_.max_context;
  config.prefill_chunk = spec_.prefill_chunk;
  config.max_running = spec_.max_running;
  config.max_inbox = spec_.max_inbox;
  config.classes = spec_.classes;
  config.progress_layers = spec_.progress_layers;
  config.lend_cores = spec_.lend_cores;
  config.prefix_cache = spec_.prefix_cache;
  config.stream_sets = scenario_.stream_sets;
  auto loop = EngineLoop::Create(std::move(config));
  BRAID_CHECK_MSG(loop.ok(), loop.status().ToString());
  loop_ = *std::move(loop);
  events_ = std::make_unique<EventScope>(world_.queue);
  active_ = turn_due_ = false;
  armed_ = kNever;
}

void SimulatedNode::Crash() {
  world_.Log(index_, LogKind::kNodeCrash);
  events_.reset();
  loop_->Stop(clock_.Now());
  for (SimulatedRunner* runner : runners_) runner->Abort();
  if (transport_ != nullptr) transport_->AbortAll();
  for (int turns = 0; !loop_->at_rest(); ++turns) {
    loop_->RunOnce(clock_.Now());
    if (turns == kMostLastTurns) {
      Violate("the engine does not come to rest after Stop");
      static_cast<void>(loop_.release());
      return;
    }
  }
  CheckAtRest();
  loop_.reset();
}

bool SimulatedNode::OwnsMemory(size_t device) const {
  for (size_t i = 0; i < spec_.devices.size(); ++i) {
    if (i != device && spec_.devices[i].arena == spec_.devices[device].arena) {
      return false;
    }
  }
  return true;
}

void SimulatedNode::CrashDevice(size_t device) {
  if (!up()) return;
  runners_[device]->Crash();
  if (!OwnsMemory(device)) return;
  const uint32_t arena = spec_.devices[device].arena;
  if (transport_ != nullptr) transport_->FailPool(PoolId(arena));
  for (uint32_t i = 0; i < arenas_[arena]->capacity(); ++i) {
    std::memset(arenas_[arena]->block(BlockId(i)), 0xA5,
                arenas_[arena]->layout().block_bytes());
  }
}

void SimulatedNode::ReturnDevice(size_t device) {
  if (up()) runners_[device]->Return();
}

void SimulatedNode::SlowDown(size_t device, double factor) {
  if (!up()) return;
  world_.Log(index_, LogKind::kSlowDevice, static_cast<int64_t>(device),
             static_cast<int64_t>(factor));
  runners_[device]->SlowDown(factor);
}

void SimulatedNode::Settle() {
  if (!up() || turn_due_) return;
  const TimePoint now = clock_.Now();
  if (active_ || loop_->ready(now)) {
    turn_due_ = true;
    const auto most = static_cast<uint64_t>(spec_.turn_delay.count());
    events_->After(std::chrono::nanoseconds(1 + world_.rng.Below(most + 1)),
                   [this] { Turn(); });
    return;
  }
  const TimePoint next = loop_->NextDeadline();
  if (next == kNever) return;
  const TimePoint then = clock_.QueueTime(next);
  if (then == armed_) return;
  armed_ = then;
  events_->At(then, [this] { armed_ = kNever; });
}

void SimulatedNode::Turn() {
  turn_due_ = false;
  active_ = loop_->RunOnce(clock_.Now());
  world_.Log(index_, LogKind::kTurn, active_);
  Check();
  after_turn_(*this);
}

void SimulatedNode::Check() {
  const Scheduler& scheduler = loop_->scheduler();
  scheduler.CheckInvariants();
  const uint32_t waiting = scheduler.count(RequestState::kWaiting);
  // What was admitted may come back to the queue.
  uint32_t most = spec_.max_running;
  for (const ServiceClass& served : spec_.classes) most += served.max_queued;
  if (waiting > most) {
    Violate(absl::StrCat(waiting, " requests are queued, at most ", most,
                         " may be"));
  }
  for (uint32_t i = 0; i < scheduler.pool_count(); ++i) {
    const BlockPool& pool = scheduler.pool(PoolId(i));
    uint32_t sum = 0;
    for (int state = 0; state < kBlockStateCount; ++state) {
      sum += pool.count(static_cast<BlockState>(state));
    }
    if (sum != spec_.pool_blocks[i]) {
      Violate(absl::StrCat("pool ", i, " has ", sum, " blocks, not ",
                           spec_.pool_blocks[i]));
    }
  }
}

void SimulatedNode::CheckAtRest() {
  if (!up()) return;
  if (!loop_->at_rest()) Violate("not at rest when nothing happens any more");
  if (transport_ != nullptr && transport_->open() > 0) {
    Violate(absl::StrCat(transport_->open(), " transfers without an end"));
  }
  const Scheduler& scheduler = loop_->scheduler();
  scheduler.CheckInvariants();
  for (uint32_t i = 0; i < scheduler.pool_count(); ++i) {
    const BlockPool& pool = scheduler.pool(PoolId(i));
    const uint32_t held = pool.capacity() - pool.count(BlockState::kFree) -
                          pool.count(BlockState::kCached);
    if (held > 0) {
      Violate(absl::StrCat(held, " blocks of pool ", i, " are held at rest (",
                           pool.count(BlockState::kReserved), " reserved, ",
                           pool.count(BlockState::kUsed), " used, ",
                           pool.count(BlockState::kSending), " sending)"));
    }
  }
}

void SimulatedNode::Violate(std::string what) {
  world_.log.Violate(absl::StrCat("node ", index_, ": ", what));
}

}  // namespace braid
