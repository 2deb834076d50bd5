#include "cpu/step_rows.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace braid::cpu {
namespace {

// Rows per unit of attention: enough to share what is loaded of the KV, few
// enough that the units of a chunk can be spread evenly.
constexpr int32_t kUnitRows = 32;

}  // namespace

void StepRows::Build(const ForwardBatch& batch, const ModelConfig& config,
                     const KvArena& arena, uint32_t max_rows,
                     uint32_t max_context) {
  rows.clear();
  units.clear();
  heads.clear();
  blocks.clear();
  first_block.clear();
  const uint32_t block_tokens = arena.layout().block_tokens;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& sequence = batch.sequences[s];
    const auto n = static_cast<int32_t>(sequence.tokens.size());
    const uint64_t end = uint64_t{sequence.start} + sequence.tokens.size();
    BRAID_CHECK(n > 0);
    BRAID_CHECK(end <= max_context);
    BRAID_CHECK(sequence.blocks.size() >= arena.layout().BlocksFor(end));
    BRAID_CHECK(rows.size() + sequence.tokens.size() <= max_rows);

    first_block.push_back(blocks.size());
    for (uint32_t b = 0; b < arena.layout().BlocksFor(end); ++b) {
      BRAID_CHECK(sequence.blocks[b].value() < arena.capacity());
      blocks.push_back(arena.block(sequence.blocks[b]));
    }
    const auto first_row = static_cast<int32_t>(rows.size());
    for (int32_t i = 0; i < n; ++i) {
      const TokenId token = sequence.tokens[i];
      BRAID_CHECK(token >= 0 && token < config.vocabulary);
      const uint32_t position = sequence.start + i;
      rows.push_back({token, position,
                      arena.block(sequence.blocks[position / block_tokens]),
                      static_cast<int32_t>(position % block_tokens)});
    }
    for (int32_t i = 0; i < n; i += kUnitRows) {
      for (int32_t head = 0; head < config.kv_heads; ++head) {
        units.push_back({static_cast<int32_t>(s), head, first_row + i,
                         std::min(kUnitRows, n - i)});
      }
    }
    const bool scored = sequence.score_top_logprobs >= 0;
    for (int32_t i = 0; i < n; ++i) {
      const bool score =
          scored && i < static_cast<int32_t>(sequence.score_targets.size());
      const bool sample = sequence.sampling != nullptr && i == n - 1;
      if (score || sample) {
        heads.push_back(
            {first_row + i, static_cast<int32_t>(s), sample, score ? i : -1});
      }
    }
  }
  BRAID_CHECK(!rows.empty());
  // The last to be taken should be short, so that threads end together.
  std::stable_sort(units.begin(), units.end(),
                   [this](const AttentionUnit& a, const AttentionUnit& b) {
                     return a.rows * rows[a.first_row].position >
                            b.rows * rows[b.first_row].position;
                   });
}

RowRange StepRows::HeadsIn(RowRange range) const {
  const auto first =
      std::ranges::lower_bound(heads, range.first, {}, &HeadRow::row);
  const auto end =
      std::ranges::lower_bound(heads, range.end, {}, &HeadRow::row);
  if (first == end) return {};
  return {first->row, std::prev(end)->row + 1};
}

}  // namespace braid::cpu
