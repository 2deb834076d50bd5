// Seam: where a request's tokens go. Implemented by the servers and by tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/ids.h"
#include "engine/stage_times.h"
#include "model/sampling.h"

namespace braid {

// What one step added to a request.
struct TokenDelta {
  // Without the token that ended the generation, which is no part of the
  // answer; Outcome::output_tokens counts it.
  std::vector<SampledToken> tokens;
  // PARSCALE streams that answered together, by token.
  std::vector<uint32_t> streams;
  // Text that is certain by now: complete characters that are not the beginning
  // of a stop string.
  std::string text;
};

enum class FinishReason : uint8_t {
  kStop,       // end-of-generation token or stop string
  kLength,     // max_tokens or the context is full
  kCancelled,  // by the client, or because it read too slowly
  kDeadline,   // it has passed, or could not be met
  kFailed,     // `status` says why
  kRefused,    // before any work: `status` says why, `retry_after` what to do
};
inline constexpr int kFinishReasonCount = 6;
const char* ToString(FinishReason reason);

// Where a request ran, and what was expected of it.
struct PlacementReport {
  std::string prefill, decode;  // names of devices; empty: nowhere yet
  const char* reason = "";      // a constant: "bypass-faster" ...
  double predicted_ttft = 0;    // seconds, on arrival
};

// Best-of-n (best_of.h): what became of the candidates, and which answer is the
// best.
struct BestOfReport {
  struct Answer {
    std::vector<SampledToken> tokens;
    std::string text;
    FinishReason reason = FinishReason::kStop;
    std::string matched_stop;
    uint32_t output_tokens = 0;
  };
  uint32_t asked = 1;     // candidates, the first included
  uint32_t started = 0;   // of them, those that have drawn a token
  uint32_t complete = 0;  // of those, when the request ended
  uint32_t chosen = 0;
  uint64_t candidate_tokens = 0;  // drawn by all of them
  // By candidate; nothing of those that are not complete.
  std::vector<std::optional<double>> self_certainty;
  // When another than the first is chosen: replaces all that OnTokens told.
  // The outcome's own fields are of this answer then.
  std::optional<Answer> answer;
};

struct Outcome {
  RequestId id;
  FinishReason reason = FinishReason::kStop;
  absl::Status status;
  double retry_after = 0;    // seconds; > 0 when refused
  std::string matched_stop;  // the stop string, when one ended it
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  uint32_t output_tokens = 0;
  double mean_streams = 1;  // PARSCALE, over the output tokens
  bool split = false;      // prefilled on one device and handed over to another
  uint32_t preempted = 0;  // times it was put back for a better class
  uint32_t recomputed = 0;              // times a device was lost under it
  PlacementReport placement;            // the last one
  std::optional<BestOfReport> best_of;  // when it was asked for
  StageTimes times;
};

// Called on the engine thread; must not block. After OnFinish nothing follows.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Logprobs of the prompt, once, before any token, when they were asked for.
  // Entry i is of prompt token i + 1: the first has no context to be scored in.
  virtual void OnPromptScores(std::vector<SampledToken> scores) = 0;
  // False: the reader is too slow; the engine cancels the request. `delta` is
  // the engine's own and is overwritten after the call.
  [[nodiscard]] virtual bool OnTokens(const TokenDelta& delta) = 0;
  // Exactly once per accepted request.
  virtual void OnFinish(Outcome outcome) = 0;
};

}  // namespace braid
