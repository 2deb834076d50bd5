// One forward step on a team of threads: every thread runs the same function,
// layer after layer, and they meet at barriers.
//
// With few rows the step is bound by reading the weights: each thread
// multiplies all rows with its share of every matrix. With many it is bound by
// arithmetic: each thread takes its own rows through all of a layer, and only
// attention needs the others'. Neither choice, nor the number of threads,
// changes a bit of any row.
//
// A step may be asked to shed rows: between two layers it goes on without them,
// or ends when there are no others.
//
// Thread safety: Begin and Take on one thread while no Run is in progress;
// Run once on each thread of the team. Thread 0 may return before others.
// ShedStreams on any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/huge_memory.h"
#include "cpu/core_team.h"
#include "cpu/float_kernels.h"
#include "cpu/kernels.h"
#include "cpu/packed_model.h"
#include "cpu/parscale_weights.h"
#include "cpu/step_rows.h"
#include "cpu/stream_mix.h"
#include "kvcache/kv_arena.h"
#include "model/forward_batch.h"
#include "model/sampling.h"

namespace braid::cpu {

// Where a thread's time went, in processor ticks; for the step benchmark.
enum class Stage : uint8_t {
  kEmbed,
  kNorm,  // norms and rounding to int8
  kQkv,
  kRope,  // and KV writes
  kAttention,
  kOutput,
  kFfn,
  kMix,  // of streams
  kHead,
  kSample,
  kWait,
};
inline constexpr int kStages = 11;
using StageTicks = std::array<uint64_t, kStages>;

class Forward final {
 public:
  struct Limits {
    uint32_t max_rows = 512;
    uint32_t max_context = 8192;
    int max_threads = 1;
  };

  // `model` and `arena` outlive it; `prefixes` are the model's, in the arena's
  // layout. RESOURCE_EXHAUSTED when there is no memory
  // for the buffers.
  static absl::StatusOr<std::unique_ptr<Forward>> Create(
      const PackedModel& model, const KvArena& arena,
      std::shared_ptr<const PrefixPages> prefixes, const Limits& limits);

  // Lays out a step for `threads` threads. The batch stays alive until Take.
  // `on_progress` is called on thread 0, as StepCallbacks say; may be empty.
  void Begin(const ForwardBatch& batch,
             std::function<void(uint32_t)> on_progress, int threads);
  void Run(int thread);
  ForwardResult Take();
  // Of the step begun last; of no effect where it has ended.
  void ShedStreams() { shed_wanted_.store(true, std::memory_order_relaxed); }

  // Adds up ticks by stage and thread while `ticks` is set.
  void Profile(std::vector<StageTicks>* ticks) { ticks_ = ticks; }

 private:
  // Buffers of a tile of rows between the stages of a layer.
  struct TileBuffers {
    Activations hidden;    // normalised
    Activations attended;  // values: in attended_
    Activations ffn;       // gated
    float* gate = nullptr;
    float* up = nullptr;
    float* product = nullptr;  // of o and down, before it joins the residual
    float* attention_scratch = nullptr;
  };
  // How so many rows are worked on.
  struct Layout {
    int32_t rows = 0;
    bool split_weights = false;  // else rows are split
    // So few rows that each thread prepares all of them for itself, which costs
    // less than to meet.
    bool redundant = false;
  };
  // What one thread knows of the step.
  struct Worker {
    int index = 0;
    Layout layout;
    std::vector<RowRange> tiles;
    // Where this thread finds its inputs and leaves its outputs: the team's,
    // or its own.
    TileBuffers buffers;
    SamplingWorkspace sampling;
    uint64_t last_tick = 0;
  };

  // Rows of logits kept at once: an echoed prompt would need gigabytes.
  static constexpr int32_t kHeadRows = 32;
  // Rows of the output matrix that a thread takes at a time.
  static constexpr int64_t kLogitsTurn = 512;

  Forward(const PackedModel& model, const KvArena& arena,
          std::shared_ptr<const PrefixPages> prefixes, const Limits& limits);
  size_t PlaceBuffers(std::byte* memory);

  Layout LayoutOf(int32_t rows) const;
  // Its share of the rows.
  void Deal(const Layout& layout, Worker& me);
  // Behind the last layer's attention few rows of a prompt are left: one thread
  // would do them all while the others wait.
  void DealWanted(Worker& me);
  void Adopt(const Layout& layout, Worker& me);
  void ShedRows(Worker& me);

  // Stages, in the order of a step.
  void Embed(Worker& me);
  void AttendToKv(const PackedLayer& layer, uint32_t index, Worker& me);
  void FeedForward(const PackedLayer& layer, uint32_t index, Worker& me);
  void HeadAndSample(Worker& me);

  using Readers = std::initializer_list<const PackedMatrix*>;
  void Normalize(const std::vector<float>& weight, Readers readers,
                 RowRange tile, Worker& me);
  void ProjectQkv(const PackedLayer& layer, RowRange tile, Worker& me);
  void RotateAndStore(const PackedLayer& layer, uint32_t index, RowRange rows);
  void Attend(uint32_t layer, Worker& me);
  // `next`: the turn's unit after it, or itself.
  void AttendUnit(uint32_t layer, const AttentionUnit& unit,
                  const AttentionUnit& next, Worker& me);
  // Behind its KV, the last layer is of use only to rows whose logits are
  // wanted: of a prompt's chunk one, or none.
  RowRange Wanted(uint32_t layer, RowRange rows) const;
  // Rounds what is in `x` as its readers see it: some rows of it, or those of
  // a tile that fall to this thread.
  void Round(const Activations& x, Readers readers, RowRange rows) const;
  void RoundTile(const Activations& x, const PackedMatrix& reader,
                 RowRange tile, Worker& me);
  void AddProduct(const PackedMatrix& w, const Activations& x, RowRange tile,
                  Worker& me);
  void GateAndUp(const PackedLayer& layer, RowRange tile, Worker& me);
  // Final norm of the rows of all streams of some heads.
  void NormalizeHeads(std::span<const HeadRow> heads, Worker& me);
  void MixStreams(std::span<const HeadRow> heads, Worker& me);
  void ProjectHeads(int32_t heads, Worker& me);
  void SampleHeads(std::span<const HeadRow> heads, Worker& me);

  // The rows of a tile that this thread prepares for all.
  RowRange Part(RowRange tile, const Worker& me) const;
  struct WeightRange {
    int64_t first, end;
  };
  // What this thread multiplies of a matrix with that many rows: all of it when
  // rows are split.
  WeightRange Share(int64_t rows, const Worker& me) const;
  // An even part, one for each thread.
  WeightRange Divide(int64_t rows, const Worker& me) const;
  void Barrier(Worker& me);
  // A barrier where threads share the rows they work on.
  void Sync(Worker& me) {
    if (me.layout.split_weights) Barrier(me);
  }
  void Mark(Stage stage, Worker& me);

  const PackedModel& model_;
  const KvArena& arena_;
  const std::shared_ptr<const PrefixPages> prefixes_;
  const Limits limits_;
  const Kernels& kernels_;
  const FloatKernels& floats_;

  // The step.
  const ForwardBatch* batch_ = nullptr;
  std::function<void(uint32_t)> on_progress_;
  StepRows step_;
  ForwardResult result_;
  int threads_ = 1;
  std::atomic<bool> shed_wanted_{false};
  bool shed_ = false;  // by thread 0, between two barriers
  std::vector<Worker> workers_;
  SpinBarrier barrier_;
  std::vector<std::atomic<uint32_t>> next_turn_;  // of attention, by layer
  std::atomic<int64_t> next_logits_{0};           // of the output matrix

  // Buffers, all in memory_.
  HugeMemory memory_;
  float* hidden_ = nullptr;    // [max_rows][hidden], the residual stream
  float* qkv_ = nullptr;       // [max_rows][qkv_width]
  float* attended_ = nullptr;  // [max_rows][q_width]
  float* angles_ = nullptr;    // [max_rows][head_dim], for RoPE
  StreamMix mix_;
  float* logits_ = nullptr;  // [kHeadRows][logits_stride_]
  int64_t logits_stride_ = 0;
  std::vector<TileBuffers> buffers_;  // by thread

  std::vector<StageTicks>* ticks_ = nullptr;
};

}  // namespace braid::cpu
