// A ModelRunner without a model: its token is a hash of the context that it
// reads back from the KV bytes, through the blocks it was given. So a block
// that is wrong, stale, missing or not yet arrived changes the text.
//
// KV: for every layer and position one record of (layer, position, token), in
// the token's place in the first key page. Launch spoils the rows' places
// first: what leaves before its layer is done is not right yet.
//
// Threads: by hand (Options::thread false), callbacks run inside Advance and
// Finish, which the test calls in any order; else on a thread of the runner.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "kvcache/kv_arena.h"
#include "model/model_runner.h"

namespace braid {

// Who uses which cores; CHECKs that nobody's are used twice. Shared by the
// runners of one engine.
class FakeCores {
 public:
  void Take(DeviceId device);
  void GiveBack(DeviceId device);

 private:
  std::mutex mutex_;
  std::set<DeviceId> busy_;  // guarded by mutex_
};

// 4 layers, one head: a page has room for a record of 8 bytes per token.
KvLayout FakeKvLayout(uint32_t block_tokens);

struct FakeRunnerOptions {
  DeviceId id;
  const KvArena* arena = nullptr;  // FakeKvLayout; outlives the runner
  std::shared_ptr<FakeCores> cores;
  uint32_t max_rows = 64;
  int32_t vocabulary = 0;
  bool thread = false;
};

class FakeRunner final : public ModelRunner {
 public:
  explicit FakeRunner(FakeRunnerOptions options);
  ~FakeRunner() override;

  const KvLayout& kv_layout() const override {
    return options_.arena->layout();
  }
  uint32_t max_rows() const override { return options_.max_rows; }
  void Launch(const ForwardBatch& batch, StepCallbacks callbacks) override;

  // By hand. Whether a step is in flight.
  bool running() const { return batch_ != nullptr; }
  // Layers up to `layers` get their KV; progress is reported when it was asked
  // for.
  void Advance(uint32_t layers);
  // The step ends. REQUIRES: running().
  void Finish(absl::Status status = absl::OkStatus());

  // The token after `context`, from the tokens themselves: what a run must
  // produce, computed without blocks.
  static SampledToken Next(std::span<const TokenId> prompt,
                           std::span<const TokenId> output,
                           const SamplingParams& sampling,
                           std::span<const TokenId> end_of_generation,
                           int32_t vocabulary);
  // The score of `target` after `context`.
  static SampledToken ScoreOf(std::span<const TokenId> context, TokenId target,
                              int32_t alternatives);

 private:
  void Spoil();
  SequenceResult Evaluate(const SequenceRows& rows) const;
  uint64_t ReadContext(const SequenceRows& rows, uint32_t end) const;
  void RunThread();

  const FakeRunnerOptions options_;
  const ForwardBatch* batch_ = nullptr;
  StepCallbacks callbacks_;
  uint32_t layers_done_ = 0;

  std::mutex mutex_;
  std::condition_variable launched_;
  bool work_ = false, closing_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace braid
