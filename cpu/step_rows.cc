#include "cpu/step_rows.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/check.h"

namespace braid::cpu {
namespace {

// Rows per unit of attention: enough to share what is loaded of the KV, few
// enough that the units of a chunk can be spread evenly.
constexpr int32_t kUnitRows = 32;

uint64_t EndOf(const SequenceRows& sequence) {
  return uint64_t{sequence.start} + sequence.tokens.size();
}

// A gang is of one set, in order of streams, and ends at one position.
void CheckGang(const ForwardBatch& batch, size_t first,
               const PackedStreams& set) {
  const SequenceRows& leader = batch.sequences[first];
  BRAID_CHECK(leader.stream == 0);
  BRAID_CHECK(leader.gang <= static_cast<uint32_t>(set.streams));
  BRAID_CHECK(first + leader.gang <= batch.sequences.size());
  for (uint32_t s = 1; s < leader.gang; ++s) {
    const SequenceRows& other = batch.sequences[first + s];
    BRAID_CHECK(other.set == leader.set && other.stream == s);
    BRAID_CHECK(other.may_shed == batch.sequences[first + 1].may_shed);
    BRAID_CHECK(EndOf(other) == EndOf(leader));
    BRAID_CHECK(other.tokens.back() == leader.tokens.back());
    BRAID_CHECK(leader.score_top_logprobs < 0 ||
                other.tokens.size() == leader.tokens.size());
  }
}

}  // namespace

void StepRows::Build(const ForwardBatch& batch, const PackedModel& model,
                     const KvArena& arena, const PrefixPages& prefixes,
                     uint32_t max_rows, uint32_t max_context, int threads) {
  rows.clear();
  units.clear();
  turns.clear();
  heads.clear();
  head_rows.clear();
  sequences.clear();
  blocks.clear();
  sequences.resize(batch.sequences.size());
  for (const bool may_shed : {false, true}) {
    for (size_t s = 0; s < batch.sequences.size(); ++s) {
      const SequenceRows& sequence = batch.sequences[s];
      if (sequence.may_shed != may_shed) continue;
      BRAID_CHECK(!sequence.tokens.empty());
      BRAID_CHECK(EndOf(sequence) <= max_context);
      BRAID_CHECK(rows.size() + sequence.tokens.size() <= max_rows);
      BRAID_CHECK(sequence.set <= model.sets.size());
      BRAID_CHECK(!may_shed || lasting == 0 || sequence.stream > 0);
      BRAID_CHECK(sequence.set > 0 ||
                  (sequence.stream == 0 && sequence.gang == 1));
      AddSequence(batch, s, model, arena, prefixes);
    }
    if (!may_shed) lasting = static_cast<int32_t>(rows.size());
  }
  BRAID_CHECK(!rows.empty());
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    AddHeads(batch, s, model);
  }
  std::ranges::sort(head_rows);
  SortHeads();
  // The last to be taken should be short, so that threads end together.
  std::stable_sort(units.begin(), units.end(),
                   [this](const AttentionUnit& a, const AttentionUnit& b) {
                     return a.rows * rows[a.first_row].position >
                            b.rows * rows[b.first_row].position;
                   });
  DealTurns(model.config.kv_heads, threads);
}

// Heads that the same matrices mix stand together, and those that have a stream
// stand before those that do not.
void StepRows::SortHeads() {
  std::stable_sort(
      heads.begin(), heads.end(), [](const HeadRow& a, const HeadRow& b) {
        return std::tuple(a.set, -a.streams) < std::tuple(b.set, -b.streams);
      });
}

void StepRows::Shed(const ForwardBatch& batch) {
  for (HeadRow& head : heads) {
    if (head.streams == 1 || !batch.sequences[head.sequence + 1].may_shed) {
      continue;
    }
    head.set = 0;
    head.streams = 1;
  }
  SortHeads();
}

// A row alone is bound by reading its KV, and where a block's pages of one head
// end those of the next begin: a thread that takes all heads reads longer runs.
// Rows that would leave a thread idle are dealt out by head, last.
void StepRows::DealTurns(int32_t kv_heads, int threads) {
  const auto count = static_cast<int32_t>(units.size());
  const auto alone = [&](int32_t u) { return units[u].rows == 1; };
  int32_t whole = 0;  // rows alone whose heads stay together
  for (int32_t u = 0; u < count; u += kv_heads) whole += alone(u) ? 1 : 0;
  whole -= whole % threads;
  for (int32_t u = 0; u < count;) {
    // The heads of some rows follow each other, since they cost the same.
    const bool together = alone(u) && whole > 0;
    if (together) --whole;
    const int32_t end = u + (together ? kv_heads : 1);
    turns.push_back({u, end});
    u = end;
  }
}

void StepRows::AddSequence(const ForwardBatch& batch, size_t index,
                           const PackedModel& model, const KvArena& arena,
                           const PrefixPages& prefixes) {
  const SequenceRows& sequence = batch.sequences[index];
  const auto n = static_cast<int32_t>(sequence.tokens.size());
  const uint32_t block_tokens = arena.layout().block_tokens;
  const uint32_t block_count = arena.layout().BlocksFor(EndOf(sequence));
  const PrefixPages::Prefix prefix =
      prefixes.Find(sequence.set, sequence.stream);
  const auto first_row = static_cast<int32_t>(rows.size());
  const bool shares_layer0 = sequence.shares_layer0();
  // Returns where the list begins.
  const auto add_blocks = [&](std::span<const BlockId> own) {
    BRAID_CHECK(own.size() >= block_count);
    const size_t begin = blocks.size();
    blocks.insert(blocks.end(), prefix.blocks.begin(), prefix.blocks.end());
    for (const BlockId id : own.first(block_count)) {
      BRAID_CHECK(id.value() < arena.capacity());
      blocks.push_back(arena.block(id));
    }
    return begin;
  };
  StepSequence& added = sequences[index];
  added.blocks = add_blocks(sequence.blocks);
  added.layer0_blocks =
      shares_layer0 ? add_blocks(sequence.stream0_blocks) : added.blocks;
  added.first_slot = prefix.first;
  added.origin_slot = static_cast<int32_t>(prefix.blocks.size() * block_tokens);
  added.last_row = first_row + n - 1;

  for (int32_t i = 0; i < n; ++i) {
    const TokenId token = sequence.tokens[i];
    BRAID_CHECK(token >= 0 && token < model.config.vocabulary);
    const uint32_t position = sequence.start + i;
    rows.push_back(
        {token, position, arena.block(sequence.blocks[position / block_tokens]),
         static_cast<int32_t>(position % block_tokens), shares_layer0});
  }
  for (int32_t i = 0; i < n; i += kUnitRows) {
    for (int32_t head = 0; head < model.config.kv_heads; ++head) {
      units.push_back({static_cast<int32_t>(index), head, first_row + i,
                       std::min(kUnitRows, n - i)});
    }
  }
}

void StepRows::AddHeads(const ForwardBatch& batch, size_t s,
                        const PackedModel& model) {
  const SequenceRows& sequence = batch.sequences[s];
  const bool scored = sequence.score_top_logprobs >= 0;
  int32_t set = 0, streams = 1;
  if (sequence.set > 0) {
    const PackedStreams& weights = model.sets[sequence.set - 1];
    if (sequence.gang > 1) {
      CheckGang(batch, s, weights);
      set = static_cast<int32_t>(sequence.set);
      streams = static_cast<int32_t>(sequence.gang);
    }
    // Streams of a published set only ever answer together.
    const bool complete =
        weights.kind == ParscaleKind::kNested || streams == weights.streams;
    BRAID_CHECK((sequence.stream == 0 && complete) ||
                (!scored && sequence.sampling == nullptr));
  }
  const auto n = static_cast<int32_t>(sequence.tokens.size());
  for (int32_t i = 0; i < n; ++i) {
    const bool score =
        scored && i < static_cast<int32_t>(sequence.score_targets.size());
    const bool sample = sequence.sampling != nullptr && i == n - 1;
    if (!score && !sample) continue;
    const HeadRow head = {.row = sequences[s].last_row - (n - 1) + i,
                          .sequence = static_cast<int32_t>(s),
                          .sample = sample,
                          .score = score ? i : -1,
                          .set = set,
                          .streams = streams};
    heads.push_back(head);
    for (int32_t stream = 0; stream < streams; ++stream) {
      head_rows.push_back(RowOf(head, stream));
    }
  }
}

RowRange StepRows::HeadsIn(RowRange range) const {
  const auto first = std::ranges::lower_bound(head_rows, range.first);
  const auto end = std::ranges::lower_bound(head_rows, range.end);
  if (first == end) return {};
  return {*first, *std::prev(end) + 1};
}

}  // namespace braid::cpu
