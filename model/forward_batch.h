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
};

}  // namespace braid
