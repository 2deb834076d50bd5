// A ModelRunner in virtual time that computes the hash model on the KV bytes of
// its arena. A step lasts as long as its shape says, with jitter; its KV is
// written layer by layer, and its rows' places are spoilt when it starts: what
// leaves before its layer is done is not right yet.
//
// It also watches its memory: the KV that a step reads must be the same at its
// end as it was at its start.
//
// Threads: one; callbacks run as events, never inside Launch.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "kvcache/kv_arena.h"
#include "model/model_runner.h"
#include "scheduler/step_time_model.h"
#include "simulator/hash_model.h"
#include "simulator/world.h"

namespace braid {

// Which devices' cores are at work; nobody's twice. Shared by the runners of
// one node.
using BusyCores = std::set<DeviceId>;

struct SimulatedRunnerOptions {
  uint32_t node = 0;
  DeviceId id;
  const KvArena* arena = nullptr;  // hash_model::Layout; outlives the runner
  std::shared_ptr<BusyCores> cores;
  uint32_t max_rows = 64;
  StepTimeModel::Prior time;  // what its steps really cost
  double jitter = 0.1;        // of a step's time, either way
  std::vector<StreamSet> stream_sets;
};

class SimulatedRunner final : public ModelRunner {
 public:
  SimulatedRunner(SimulatedRunnerOptions options, World& world);

  const KvLayout& kv_layout() const override {
    return options_.arena->layout();
  }
  uint32_t max_rows() const override { return options_.max_rows; }
  void Launch(const ForwardBatch& batch, StepCallbacks callbacks) override;
  // The step lasts as long as it would have.
  void ShedStreams() override;
  bool sheds_in_flight() const override { return true; }

  DeviceId id() const { return options_.id; }
  // Lost until Return: the step in flight ends with UNAVAILABLE, and so does
  // every other. The first one after the return does as well when nobody was
  // told of the crash yet: whoever trusts the memory learns that it is gone.
  void Crash();
  void Return();
  // Whether the memory can be read and written by others.
  bool reachable() const { return !down_ && told_; }
  void SlowDown(double factor) { slow_ = factor; }
  // The step in flight ends now, without a result. For a node that dies.
  void Abort();

 private:
  struct Rows {
    uint64_t context_before = 0;     // of [0, start), read at the start
    std::vector<uint64_t> contexts;  // before each row, and behind the last
    std::vector<uint64_t> records0;  // of each row in layer 0
  };
  hash_model::KvPlace PlaceOf(const SequenceRows& sequence) const;
  uint64_t EmptyContextOf(const SequenceRows& sequence) const;
  void StartRows(size_t index);
  void CheckGang(size_t index) const;
  uint64_t ReadBack(const SequenceRows& sequence, const Rows& read);
  void Start();
  void WriteLayers(uint32_t end);
  void Progress(uint32_t layers);
  void Finish();
  void End(ForwardResult result);
  void Fail(absl::Status status, Duration after);
  SequenceResult Evaluate(size_t index);
  bool IsShed(size_t index) const {
    return shed_ && batch_->sequences[index].may_shed;
  }
  double StepSeconds() const;
  void Log(LogKind kind, int64_t b = 0) {
    world_.Log(options_.node, kind, options_.id.value(), b);
  }

  const SimulatedRunnerOptions options_;
  World& world_;
  const ForwardBatch* batch_ = nullptr;
  StepCallbacks callbacks_;
  std::vector<Rows> rows_;
  uint32_t layers_done_ = 0;
  bool shed_ = false;
  bool evaluated_ = false;  // its result is there
  bool down_ = false;
  bool told_ = true;  // of the last crash
  double slow_ = 1;
  // Of the step in flight.
  std::unique_ptr<EventScope> step_;
};

}  // namespace braid
