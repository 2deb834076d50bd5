// A ForwardBatch laid out for the threads of a step: its rows one after the
// other, those that may be shed behind all that stay, attention cut into units
// that any thread may take, and the rows that the output head is wanted for.
//
// Slots are where a sequence's tokens lie in its blocks: its prefix first, when
// it is a stream that has one, then position 0 at the start of the next block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/packed_model.h"
#include "kvcache/kv_arena.h"
#include "model/forward_batch.h"

namespace braid::cpu {

struct RowRange {
  int32_t first = 0, end = 0;
  int32_t size() const { return end - first; }
};

struct StepRow {
  TokenId token = 0;
  int64_t position = 0;
  std::byte* block = nullptr;  // where its KV goes ...
  int32_t slot = 0;            // ... and which token of the block it is
  // Of another stream than 0: layer 0 is stored by that one.
  bool shares_layer0 = false;
};

// What the rows of a sequence have in common.
struct StepSequence {
  // Of StepRows::blocks, the prefix's and its own: for layer 0, and for others.
  size_t layer0_blocks = 0;
  size_t blocks = 0;
  int32_t first_slot = 0;   // of the prefix, or of position 0
  int32_t origin_slot = 0;  // of position 0
  int32_t last_row = 0;     // of the step
};

// One KV head of consecutive rows of one sequence.
struct AttentionUnit {
  int32_t sequence = 0;
  int32_t kv_head = 0;
  int32_t first_row = 0;  // of the step
  int32_t rows = 0;
};

// A row whose logits are wanted: to draw a token, to score the next one of the
// prompt, or both. With other streams, whose sequences follow, it is mixed
// first.
struct HeadRow {
  int32_t row = 0;  // of the step
  int32_t sequence = 0;
  bool sample = false;
  int32_t score = -1;  // index into score_targets, or -1
  int32_t set = 0;     // PARSCALE; 0 when streams == 1
  int32_t streams = 1;
};

struct StepRows {
  std::vector<StepRow> rows;
  int32_t lasting = 0;  // of them, the first so many may not be shed
  std::vector<AttentionUnit> units;  // dearest first
  // Units that one thread takes together: ranges of `units`, in their order.
  std::vector<RowRange> turns;
  std::vector<HeadRow> heads;            // by set, most streams first, by row
  std::vector<int32_t> head_rows;        // of all their streams, ascending
  std::vector<StepSequence> sequences;   // as in the batch
  std::vector<const std::byte*> blocks;  // bases

  // Replaces the contents, for that many threads. CHECKs what the engine
  // guarantees: rows within limits, blocks enough, tokens of the vocabulary,
  // gangs that are whole.
  void Build(const ForwardBatch& batch, const PackedModel& model,
             const KvArena& arena, const PrefixPages& prefixes,
             uint32_t max_rows, uint32_t max_context, int threads);

  // The sequences that may be shed are: their streams answer no more. The rows
  // and units stay; those from `lasting` on are of no use.
  // REQUIRES: lasting > 0.
  void Shed(const ForwardBatch& batch);

  // The row of stream s that is mixed into a head.
  int32_t RowOf(const HeadRow& head, int32_t s) const {
    return head.row + sequences[head.sequence + s].last_row -
           sequences[head.sequence].last_row;
  }
  // The least part of `range` that holds all of its rows that a head needs.
  RowRange HeadsIn(RowRange range) const;

 private:
  void AddSequence(const ForwardBatch& batch, size_t index,
                   const PackedModel& model, const KvArena& arena,
                   const PrefixPages& prefixes);
  void SortHeads();
  void AddHeads(const ForwardBatch& batch, size_t sequence,
                const PackedModel& model);
  void DealTurns(int32_t kv_heads, int threads);
};

}  // namespace braid::cpu
