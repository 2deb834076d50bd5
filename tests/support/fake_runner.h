// A ModelRunner without a model: its token is a hash of the context that it
// reads back from the KV bytes, through the blocks it was given. So a block
// that is wrong, stale, missing or not yet arrived changes the text.
//
// KV: for every layer and position one record of (layer, position, token), in
// the token's place in the first key page. Launch spoils the rows' places
// first: what leaves before its layer is done is not right yet.
//
// PARSCALE: records of a stream with a prefix are of (set, stream) as well, but
// for layer 0, which is stream 0's alone. The token of a gang is a hash of the
// contexts of all of its streams.
//
// Threads: by hand (Options::thread false), callbacks run inside Advance and
// Finish, which the test calls in any order; else on a thread of the runner.
#pragma once

#include <atomic>
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
#include "scheduler/stream_terms.h"

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
  std::vector<StreamSet> stream_sets;
};

// Streams that answer together, of one set.
struct FakeGang {
  uint32_t streams = 1;
  uint32_t set = 1;
  bool elastic = true;  // else stream 0 has a prefix too
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
  void ShedStreams() override { shed_wanted_ = true; }
  bool sheds_in_flight() const override { return true; }

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
                           int32_t vocabulary, const FakeGang& gang = {});
  // The score of `target` after `context`.
  static SampledToken ScoreOf(std::span<const TokenId> context, TokenId target,
                              int32_t alternatives, const FakeGang& gang = {});

 private:
  void Check(const ForwardBatch& batch) const;
  void Spoil(const SequenceRows& rows);
  bool IsShed(size_t index) const {
    return shed_ && batch_->sequences[index].may_shed;
  }
  // Of the gang that begins at `index`.
  SequenceResult Evaluate(size_t index) const;
  uint64_t ReadContext(const SequenceRows& rows, uint32_t end) const;
  // Of the gang that begins at `index`, `end` tokens long.
  uint64_t ReadGang(size_t index, uint32_t end) const;
  // What records of these rows are of, besides layer, position and token.
  uint64_t FlavourOf(const SequenceRows& rows) const;
  void RunThread();

  const FakeRunnerOptions options_;
  const ForwardBatch* batch_ = nullptr;
  StepCallbacks callbacks_;
  uint32_t layers_done_ = 0;
  std::atomic<bool> shed_wanted_{false};
  bool shed_ = false;

  std::mutex mutex_;
  std::condition_variable launched_;
  bool work_ = false, closing_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace braid
