// A ForwardBatch laid out for the threads of a step: its rows one after the
// other, attention cut into units that any thread may take, and the rows that
// the output head is wanted for.
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
};

// One KV head of consecutive rows of one sequence.
struct AttentionUnit {
  int32_t sequence = 0;
  int32_t kv_head = 0;
  int32_t first_row = 0;  // of the step
  int32_t rows = 0;
};

// A row whose logits are wanted: to draw a token, to score the next one of the
// prompt, or both.
struct HeadRow {
  int32_t row = 0;  // of the step
  int32_t sequence = 0;
  bool sample = false;
  int32_t score = -1;  // index into score_targets, or -1
};

struct StepRows {
  std::vector<StepRow> rows;
  std::vector<AttentionUnit> units;  // dearest first
  std::vector<HeadRow> heads;        // by row
  // Bases of the blocks of sequence s, from blocks[first_block[s]] on.
  std::vector<const std::byte*> blocks;
  std::vector<size_t> first_block;

  // Replaces the contents. CHECKs what the engine guarantees: rows within
  // limits, blocks enough, tokens of the vocabulary.
  void Build(const ForwardBatch& batch, const ModelConfig& config,
             const KvArena& arena, uint32_t max_rows, uint32_t max_context);

  // The least part of `range` that holds all of its rows whose logits are
  // wanted.
  RowRange HeadsIn(RowRange range) const;
};

}  // namespace braid::cpu
