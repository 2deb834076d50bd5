#include "cpu/forward.h"

#include <algorithm>
#include <cmath>
#include <utility>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "base/check.h"
#include "base/status_macros.h"

namespace braid::cpu {
namespace {

// Rows that go through a layer together: their activations stay in the cache.
constexpr int32_t kTileRows = 64;
// Rows per thread from which splitting rows beats splitting weights.
constexpr int32_t kSplitRowsFrom = 32;
constexpr int32_t kRedundantRows = 2;

uint64_t Ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Forward>> Forward::Create(
    const PackedModel& model, const KvArena& arena,
    std::shared_ptr<const PrefixPages> prefixes, const Limits& limits) {
  BRAID_CHECK(limits.max_rows > 0 && limits.max_threads > 0);
  BRAID_CHECK(prefixes->layout() == arena.layout());
  std::unique_ptr<Forward> forward(
      new Forward(model, arena, std::move(prefixes), limits));
  const size_t bytes = forward->PlaceBuffers(nullptr);
  BRAID_ASSIGN_OR_RETURN(forward->memory_, HugeMemory::Map(bytes));
  forward->PlaceBuffers(forward->memory_.data());
  return forward;
}

Forward::Forward(const PackedModel& model, const KvArena& arena,
                 std::shared_ptr<const PrefixPages> prefixes,
                 const Limits& limits)
    : model_(model),
      arena_(arena),
      prefixes_(std::move(prefixes)),
      limits_(limits),
      kernels_(KernelsFor(model.isa)),
      floats_(FloatKernelsFor(model.isa)),
      workers_(limits.max_threads),
      next_turn_(model.config.layers),
      mix_(model, kHeadRows),
      logits_stride_(RoundUp(model.config.vocabulary, kRowTile)),
      buffers_(limits.max_threads) {}

// Lays all buffers out from `memory` on; returns the bytes they take.
size_t Forward::PlaceBuffers(std::byte* memory) {
  size_t used = 0;
  const auto take = [&](size_t bytes) {
    std::byte* place = memory == nullptr ? nullptr : memory + used;
    used += static_cast<size_t>(RoundUp(static_cast<int64_t>(bytes), 64));
    return place;
  };
  const auto floats = [&](int64_t count) {
    return reinterpret_cast<float*>(take(count * sizeof(float)));
  };
  const auto activations = [&](int32_t columns) {
    std::byte* place = take(ActivationBytes(kTileRows, columns));
    return place == nullptr ? Activations{}
                            : PlaceActivations(kTileRows, columns, place);
  };
  const ModelConfig& c = model_.config;
  const int64_t rows = limits_.max_rows;
  hidden_ = floats(rows * c.hidden);
  qkv_ = floats(rows * model_.qkv_width());
  attended_ = floats(rows * model_.q_width());
  angles_ = floats(rows * c.head_dim);
  logits_ = floats(kHeadRows * logits_stride_);
  mix_.Place(take(mix_.bytes()));
  for (TileBuffers& tile : buffers_) {
    tile.hidden = activations(c.hidden);
    tile.attended = activations(model_.q_width());
    tile.ffn = activations(c.ffn);
    tile.gate = floats(int64_t{kTileRows} * c.ffn);
    tile.up = floats(int64_t{kTileRows} * c.ffn);
    tile.product = floats(int64_t{kTileRows} * c.hidden);
    tile.attention_scratch =
        floats(static_cast<int64_t>(AttentionScratchFloats(c.head_dim)));
  }
  return used;
}

void Forward::Begin(const ForwardBatch& batch,
                    std::function<void(uint32_t)> on_progress, int threads) {
  BRAID_CHECK(threads > 0 && threads <= limits_.max_threads);
  batch_ = &batch;
  on_progress_ = std::move(on_progress);
  threads_ = threads;
  barrier_.SetSize(threads);
  step_.Build(batch, model_, arena_, *prefixes_, limits_.max_rows,
              limits_.max_context, threads);
  shed_wanted_.store(false, std::memory_order_relaxed);
  shed_ = false;
  const Layout layout = LayoutOf(static_cast<int32_t>(step_.rows.size()));
  for (int i = 0; i < threads; ++i) {
    workers_[i].index = i;
    Deal(layout, workers_[i]);
  }
  for (std::atomic<uint32_t>& next : next_turn_) {
    next.store(0, std::memory_order_relaxed);
  }
  result_ = {};
  result_.sequences.resize(batch.sequences.size());
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    if (batch.sequences[s].score_top_logprobs >= 0) {
      result_.sequences[s].scores.resize(
          batch.sequences[s].score_targets.size());
    }
  }
}

Forward::Layout Forward::LayoutOf(int32_t rows) const {
  const bool split = threads_ > 1 && rows < threads_ * kSplitRowsFrom;
  return {.rows = rows,
          .split_weights = split,
          .redundant = split && rows <= kRedundantRows};
}

void Forward::Deal(const Layout& layout, Worker& me) {
  me.tiles.clear();
  const int32_t rows = layout.rows;
  // Rows are dealt out in whole register tiles of the matrix products.
  const int32_t share =
      layout.split_weights
          ? rows
          : static_cast<int32_t>(RoundUp((rows + threads_ - 1) / threads_, 8));
  const int32_t first =
      layout.split_weights ? 0 : std::min(rows, share * me.index);
  const int32_t end = std::min(rows, first + share);
  for (int32_t row = first; row < end; row += kTileRows) {
    me.tiles.push_back({row, std::min(row + kTileRows, end)});
  }
  Adopt(layout, me);
}

void Forward::DealWanted(Worker& me) {
  if (me.layout.split_weights) return;
  std::vector<RowRange> tiles;
  int32_t wanted = 0;
  for (int32_t row = 0; row < me.layout.rows; row += kTileRows) {
    const RowRange tile =
        step_.HeadsIn({row, std::min(row + kTileRows, me.layout.rows)});
    if (tile.size() == 0) continue;
    tiles.push_back(tile);
    wanted += tile.size();
  }
  const Layout layout = LayoutOf(wanted);
  if (!layout.split_weights) return;
  me.tiles = std::move(tiles);
  Adopt(layout, me);
}

void Forward::Adopt(const Layout& layout, Worker& me) {
  me.layout = layout;
  me.buffers = buffers_[me.index];
  if (layout.split_weights && !layout.redundant) {
    me.buffers.hidden = buffers_[0].hidden;
    me.buffers.attended = buffers_[0].attended;
    me.buffers.ffn = buffers_[0].ffn;
  }
  // Columns of the gated activations come from all threads.
  if (layout.redundant) me.buffers.ffn.values = buffers_[0].ffn.values;
}

ForwardResult Forward::Take() {
  result_.shed = shed_;
  batch_ = nullptr;
  on_progress_ = nullptr;
  return std::move(result_);
}

void Forward::Run(int thread) {
  Worker& me = workers_[thread];
  if (ticks_ != nullptr) me.last_tick = Ticks();
  Embed(me);
  for (uint32_t i = 0; i < model_.layers.size(); ++i) {
    AttendToKv(model_.layers[i], i, me);
    if (shed_ && me.layout.rows > step_.lasting) {
      if (step_.lasting == 0) return;
      ShedRows(me);
    }
    if (i + 1 == model_.layers.size()) DealWanted(me);
    FeedForward(model_.layers[i], i, me);
  }
  HeadAndSample(me);
}

// Behind a barrier, where all that is left of a layer's first half is in rows
// of the residual stream and of attention, which any thread may take over.
void Forward::ShedRows(Worker& me) {
  Deal(LayoutOf(step_.lasting), me);
  // Nobody looks at heads before the barrier behind the last layer.
  if (me.index == 0) step_.Shed(*batch_);
}

void Forward::Embed(Worker& me) {
  const ModelConfig& c = model_.config;
  const int32_t half = c.head_dim / 2;
  for (const RowRange tile : me.tiles) {
    const RowRange part = Part(tile, me);
    for (int32_t row = part.first; row < part.end; ++row) {
      const StepRow& r = step_.rows[row];
      float* hidden = hidden_ + int64_t{row} * c.hidden;
      if (model_.embedding.empty()) {
        UnpackRow(model_.output, r.token, hidden);
      } else {
        DequantizeRow(model_.embedding.dtype, model_.embedding.row(r.token),
                      c.hidden, hidden);
      }
      float* angles = angles_ + int64_t{row} * c.head_dim;
      for (int32_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(r.position) *
                             static_cast<double>(model_.rope.frequencies[i]);
        angles[i] = static_cast<float>(std::cos(angle)) * model_.rope.magnitude;
        angles[half + i] =
            static_cast<float>(std::sin(angle)) * model_.rope.magnitude;
      }
    }
  }
  Mark(Stage::kEmbed, me);
  Sync(me);
}

// hidden -> q, k, v -> KV cache -> attended, for all rows.
void Forward::AttendToKv(const PackedLayer& layer, uint32_t index, Worker& me) {
  for (const RowRange tile : me.tiles) {
    Normalize(layer.attention_norm, {&layer.q, &layer.k, &layer.v}, tile, me);
    ProjectQkv(layer, tile, me);
    Sync(me);
    RotateAndStore(layer, index, Part(tile, me));
    Mark(Stage::kRope, me);
  }
  Barrier(me);
  if (me.index == 0 && on_progress_ != nullptr) {
    const uint32_t written = index + 1;
    if (written % batch_->progress_layers == 0 ||
        written == model_.layers.size()) {
      on_progress_(written);
    }
  }
  if (me.index == 0 && step_.lasting < me.layout.rows) {
    shed_ = shed_wanted_.load(std::memory_order_relaxed);
  }
  Attend(index, me);
  Barrier(me);
}

// hidden += o attended; hidden += down (silu(gate) * up).
void Forward::FeedForward(const PackedLayer& layer, uint32_t index,
                          Worker& me) {
  for (const RowRange whole_tile : me.tiles) {
    const RowRange tile = Wanted(index, whole_tile);
    if (tile.size() == 0) continue;
    Activations& attended = me.buffers.attended;
    attended.values = attended_ + int64_t{tile.first} * model_.q_width();
    RoundTile(attended, layer.o, tile, me);
    AddProduct(layer.o, attended, tile, me);
    Mark(Stage::kOutput, me);
    Sync(me);
    Normalize(layer.ffn_norm, {&layer.gate, &layer.up}, tile, me);
    GateAndUp(layer, tile, me);
    Sync(me);
    RoundTile(me.buffers.ffn, layer.down, tile, me);
    AddProduct(layer.down, me.buffers.ffn, tile, me);
    Mark(Stage::kFfn, me);
    Sync(me);
  }
}

void Forward::Normalize(const std::vector<float>& weight, Readers readers,
                        RowRange tile, Worker& me) {
  const int32_t n = model_.config.hidden;
  const Activations& x = me.buffers.hidden;
  const RowRange part = me.layout.redundant ? tile : Part(tile, me);
  for (int32_t row = part.first; row < part.end; ++row) {
    floats_.rms_norm(hidden_ + int64_t{row} * n, weight.data(), n,
                     model_.config.rms_epsilon,
                     x.values + int64_t{row - tile.first} * n);
  }
  Round(x, readers, {part.first - tile.first, part.end - tile.first});
  Mark(Stage::kNorm, me);
  if (!me.layout.redundant) Sync(me);
}

void Forward::Round(const Activations& x, Readers readers,
                    RowRange rows) const {
  bool int8 = false, bf16 = false;
  for (const PackedMatrix* w : readers) {
    int8 |= w->int8_inputs();
    bf16 |= w->format == PackedFormat::kBF16;
  }
  if (int8) kernels_.quantize(x, rows.first, rows.end);
  if (bf16) kernels_.round(x, rows.first, rows.end);
}

void Forward::RoundTile(const Activations& x, const PackedMatrix& reader,
                        RowRange tile, Worker& me) {
  if (!reader.int8_inputs() && reader.format != PackedFormat::kBF16) return;
  const RowRange part = me.layout.redundant ? tile : Part(tile, me);
  Round(x, {&reader}, {part.first - tile.first, part.end - tile.first});
  Mark(Stage::kNorm, me);
  if (!me.layout.redundant) Sync(me);
}

void Forward::ProjectQkv(const PackedLayer& layer, RowRange tile, Worker& me) {
  const int64_t stride = model_.qkv_width();
  float* qkv = qkv_ + tile.first * stride;
  // One range over the rows of all three, so that threads get equal shares.
  const WeightRange share = Share(stride, me);
  int64_t offset = 0;
  for (const PackedMatrix* w : {&layer.q, &layer.k, &layer.v}) {
    const int64_t first = std::clamp<int64_t>(share.first - offset, 0, w->rows);
    const int64_t end = std::clamp<int64_t>(share.end - offset, 0, w->rows);
    if (first < end) {
      kernels_.matmul(*w, me.buffers.hidden, 0, tile.size(), first, end,
                      qkv + offset, stride);
    }
    offset += w->rows;
  }
  if (!layer.qkv_bias.empty()) {
    const auto n = static_cast<int32_t>(share.end - share.first);
    for (int32_t t = 0; t < tile.size(); ++t) {
      floats_.add(layer.qkv_bias.data() + share.first, n,
                  qkv + t * stride + share.first);
    }
  }
  Mark(Stage::kQkv, me);
}

void Forward::RotateAndStore(const PackedLayer& layer, uint32_t index,
                             RowRange rows) {
  const ModelConfig& c = model_.config;
  const KvLayout& layout = arena_.layout();
  for (int32_t row = rows.first; row < rows.end; ++row) {
    const StepRow& r = step_.rows[row];
    const float* angles = angles_ + int64_t{row} * c.head_dim;
    float* q = qkv_ + int64_t{row} * model_.qkv_width();
    float* k = q + model_.q_width();
    const float* v = k + model_.kv_width();
    for (int32_t h = 0; h < c.heads; ++h) {
      float* head = q + h * c.head_dim;
      if (!layer.q_norm.empty()) {
        floats_.rms_norm(head, layer.q_norm.data(), c.head_dim, c.rms_epsilon,
                         head);
      }
      floats_.rope(angles, c.head_dim, head);
    }
    if (index == 0 && r.shares_layer0) continue;
    for (int32_t h = 0; h < c.kv_heads; ++h) {
      float* head = k + h * c.head_dim;
      if (!layer.k_norm.empty()) {
        floats_.rms_norm(head, layer.k_norm.data(), c.head_dim, c.rms_epsilon,
                         head);
      }
      floats_.rope(angles, c.head_dim, head);
      floats_.store_kv(head, v + h * c.head_dim, c.head_dim, layout.dtype,
                       static_cast<int32_t>(layout.block_tokens), r.slot,
                       r.block + layout.KeyPage(index, h),
                       r.block + layout.ValuePage(index, h));
    }
  }
}

void Forward::Attend(uint32_t layer, Worker& me) {
  // Whoever is free takes the next turn: who it is changes no bit.
  for (;;) {
    const uint32_t i =
        next_turn_[layer].fetch_add(1, std::memory_order_relaxed);
    if (i >= step_.turns.size()) break;
    const RowRange turn = step_.turns[i];
    for (int32_t u = turn.first; u < turn.end; ++u) {
      AttendUnit(layer, step_.units[u],
                 step_.units[std::min(u + 1, turn.end - 1)], me);
    }
  }
  Mark(Stage::kAttention, me);
}

void Forward::AttendUnit(uint32_t layer, const AttentionUnit& unit,
                         const AttentionUnit& next, Worker& me) {
  if (unit.first_row >= me.layout.rows) return;
  const ModelConfig& c = model_.config;
  const KvLayout& layout = arena_.layout();
  const RowRange rows =
      Wanted(layer, {unit.first_row, unit.first_row + unit.rows});
  if (rows.size() == 0) return;
  const int32_t group = c.heads / c.kv_heads;
  const int64_t head = int64_t{unit.kv_head} * group * c.head_dim;
  const StepSequence& sequence = step_.sequences[unit.sequence];
  const AttentionTask task = {
      .blocks = step_.blocks.data() +
                (layer == 0 ? sequence.layer0_blocks : sequence.blocks),
      .key_page = layout.KeyPage(layer, unit.kv_head),
      .value_page = layout.ValuePage(layer, unit.kv_head),
      .next_key_page = layout.KeyPage(layer, next.kv_head),
      .block_tokens = static_cast<int32_t>(layout.block_tokens),
      .head_dim = c.head_dim,
      .dtype = layout.dtype,
      .first = sequence.first_slot,
      .tokens = rows.size(),
      .start = sequence.origin_slot + step_.rows[rows.first].position,
      .group = group,
      .q = qkv_ + int64_t{rows.first} * model_.qkv_width() + head,
      .q_stride = model_.qkv_width(),
      .out = attended_ + int64_t{rows.first} * model_.q_width() + head,
      .out_stride = model_.q_width()};
  floats_.attend(task, me.buffers.attention_scratch);
}

// hidden += w x, for this thread's share of w's rows.
void Forward::AddProduct(const PackedMatrix& w, const Activations& x,
                         RowRange tile, Worker& me) {
  const WeightRange share = Share(w.rows, me);
  if (share.first == share.end) return;
  const int64_t stride = model_.config.hidden;
  float* product = me.buffers.product;
  kernels_.matmul(w, x, 0, tile.size(), share.first, share.end, product,
                  stride);
  for (int32_t t = 0; t < tile.size(); ++t) {
    floats_.add(product + t * stride + share.first,
                static_cast<int32_t>(share.end - share.first),
                hidden_ + (tile.first + t) * stride + share.first);
  }
}

void Forward::GateAndUp(const PackedLayer& layer, RowRange tile, Worker& me) {
  const int64_t stride = model_.config.ffn;
  const WeightRange share = Share(stride, me);
  if (share.first == share.end) return;
  const TileBuffers& b = me.buffers;
  kernels_.matmul(layer.gate, b.hidden, 0, tile.size(), share.first, share.end,
                  b.gate, stride);
  kernels_.matmul(layer.up, b.hidden, 0, tile.size(), share.first, share.end,
                  b.up, stride);
  for (int32_t t = 0; t < tile.size(); ++t) {
    const int64_t at = t * stride + share.first;
    floats_.silu_mul(b.gate + at, b.up + at,
                     static_cast<int32_t>(share.end - share.first),
                     b.ffn.values + at);
  }
  Mark(Stage::kFfn, me);
}

RowRange Forward::Wanted(uint32_t layer, RowRange rows) const {
  return layer + 1 < model_.layers.size() ? rows : step_.HeadsIn(rows);
}

RowRange Forward::Part(RowRange tile, const Worker& me) const {
  if (!me.layout.split_weights) return tile;
  const int32_t n = tile.size();
  return {tile.first + n * me.index / threads_,
          tile.first + n * (me.index + 1) / threads_};
}

Forward::WeightRange Forward::Share(int64_t rows, const Worker& me) const {
  return me.layout.split_weights ? Divide(rows, me) : WeightRange{0, rows};
}

Forward::WeightRange Forward::Divide(int64_t rows, const Worker& me) const {
  const int64_t tiles = RoundUp(rows, kRowTile) / kRowTile;
  return {tiles * me.index / threads_ * kRowTile,
          std::min(rows, tiles * (me.index + 1) / threads_ * kRowTile)};
}

void Forward::Barrier(Worker& me) {
  barrier_.Wait();
  Mark(Stage::kWait, me);
}

void Forward::Mark(Stage stage, Worker& me) {
  if (ticks_ == nullptr) return;
  const uint64_t now = Ticks();
  (*ticks_)[me.index][static_cast<size_t>(stage)] += now - me.last_tick;
  me.last_tick = now;
}

}  // namespace braid::cpu
