// How well a text is predicted by any number of a model's streams: the figures
// behind `braid parscale eval`. On any runner.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "kvcache/kv_arena.h"
#include "model/model_runner.h"
#include "scheduler/stream_terms.h"

namespace braid::server {

// Streams that answer together: `streams` of a set, or the plain model.
struct EvalGang {
  uint32_t set = 0;
  uint32_t streams = 1;
};
// The plain model, and every number of streams that `sets` have weights for.
std::vector<EvalGang> EvalGangs(std::span<const StreamSet> sets);

struct EvalOptions {
  uint32_t context = 1024;  // tokens that a prediction sees at most
  uint32_t windows = 0;     // of the text, spread over it; 0: all
  // Begins every window; nothing: windows begin with the text's own tokens.
  std::optional<TokenId> bos;
};

// NLL in nats per token.
struct EvalRow {
  EvalGang gang;
  double mean = 0;
  // Of the plain model's mean, window by window: what the streams gain.
  double gain = 0, gain_standard_error = 0;
  std::vector<double> by_position;  // by EvalReport::edges
};
struct EvalReport {
  uint32_t windows = 0;
  uint64_t tokens = 0;          // predicted, by each gang
  std::vector<uint32_t> edges;  // bucket i has positions [edges[i], edges[i+1])
  std::vector<EvalRow> rows;    // as EvalGangs
};

// Scores disjoint windows of `text` with each gang. `progress`: windows done,
// of how many. INVALID_ARGUMENT when the text has no window, RESOURCE_EXHAUSTED
// when `arena` is too small for one.
absl::StatusOr<EvalReport> EvaluateStreams(
    ModelRunner& runner, const KvArena& arena, std::span<const StreamSet> sets,
    std::span<const TokenId> text, const EvalOptions& options,
    const std::function<void(uint32_t, uint32_t)>& progress);

// For people, and for scripts in one line (the caller adds to the object).
std::string EvalTable(const EvalReport& report);
std::string EvalJson(const EvalReport& report);  // "windows":..,"nll":[..]

}  // namespace braid::server
