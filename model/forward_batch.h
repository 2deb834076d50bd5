// One step of a device, as plain structs: which tokens of which sequences go
// through the model, where their KV is, and what is wanted of the result.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "model/sampling.h"

namespace braid {

// Consecutive tokens of one sequence: a chunk of a prompt, or the one token of
// a decode step. The runner does not care which it is.
struct SequenceRows {
  // tokens[i] stands at position start + i; KV of [0, start) is in the blocks
  // already, and that of the rows is written by this step.
  std::span<const TokenId> tokens;
  uint32_t start = 0;
  // Blocks that cover [0, start + tokens.size()).
  std::span<const BlockId> blocks;

  // Draw a token after the last row. Null: none wanted (an inner chunk).
  const SamplingParams* sampling = nullptr;
  SamplingContext context;  // when `sampling` is set

  // PARSCALE (model/parscale.h): the rows are of this stream of one of the
  // runner's sets, which count from 1; 0 is the plain model.
  uint32_t set = 0;
  uint32_t stream = 0;
  // The blocks of stream 0, for another one: what layer 0 writes is the same
  // for all streams, and is written and kept there alone. Stream 0 has the KV
  // of these positions, or its rows are in this step. Empty where stream 0 is
  // in another memory: then this one writes layer 0 itself, into `blocks`.
  std::span<const BlockId> stream0_blocks;
  bool shares_layer0() const { return !stream0_blocks.empty(); }
  // Of stream 0: that many streams answer together. The `gang` - 1 sequences
  // behind this one are streams 1, 2 ... of the same request, with equal ends,
  // and their hidden states are weighed into one before the head. Only stream 0
  // draws and scores; a gang that scores has equal rows.
  uint32_t gang = 1;
  // The runner may be asked to drop the rows in mid-step: of elastic streams,
  // or of all sequences of the step.
  bool may_shed = false;

  // >= 0: score the prompt as well (echo). Row i is scored against
  // score_targets[i] with that many alternatives; the spans have equal length,
  // except that the last row of a prompt has no target.
  int32_t score_top_logprobs = -1;
  std::span<const TokenId> score_targets;
};

struct ForwardBatch {
  std::vector<SequenceRows> sequences;
  // Idle devices whose cores this step may use besides its own. Changes no bit
  // of the result.
  std::vector<DeviceId> lent;
  // > 0: report progress whenever that many more layers have their KV written.
  uint32_t progress_layers = 0;
};

struct SequenceResult {
  std::optional<SampledToken> token;
  std::vector<SampledToken> scores;  // by row, when scoring was asked for
};

struct ForwardResult {
  absl::Status status;  // not OK: nothing below is valid; KV rows are garbage
  std::vector<SequenceResult> sequences;  // as in the batch
  // All sequences that may be shed were: their KV rows are garbage, they have
  // no results, and a stream 0 that stays has answered alone.
  bool shed = false;
};

}  // namespace braid
