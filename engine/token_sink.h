// Seam: where a request's tokens go. Implemented by the servers and by tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/ids.h"
#include "model/sampling.h"

namespace braid {

// What one step added to a request.
struct TokenDelta {
  // Without the token that ended the generation, which is no part of the
  // answer; Outcome::output_tokens counts it.
  std::vector<SampledToken> tokens;
  // Text that is certain by now: complete characters that are not the beginning
  // of a stop string.
  std::string text;
};

enum class FinishReason : uint8_t {
  kStop,       // end-of-generation token or stop string
  kLength,     // max_tokens or the context is full
  kCancelled,  // by the client, or because it read too slowly
  kDeadline,
  kFailed,  // `status` says why
};
const char* ToString(FinishReason reason);

// When each stage ended. Stages follow each other without gaps, so they sum to
// finished - received. A stage that did not happen ends when it began.
struct StageTimes {
  TimePoint received, admitted, prefill_started, prefill_ended, transfer_ended,
      finished;
  TimePoint first_token;
};

struct Outcome {
  FinishReason reason = FinishReason::kStop;
  absl::Status status;
  std::string matched_stop;  // the stop string, when one ended it
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  uint32_t output_tokens = 0;
  bool split = false;  // prefilled on one device and handed over to another
  StageTimes times;
};

// Called on the engine thread; must not block. After OnFinish nothing follows.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Logprobs of the prompt, once, before any token, when they were asked for.
  // Entry i is of prompt token i + 1: the first has no context to be scored in.
  virtual void OnPromptScores(std::vector<SampledToken> scores) = 0;
  // False: the reader is too slow; the engine cancels the request.
  [[nodiscard]] virtual bool OnTokens(TokenDelta delta) = 0;
  // Exactly once per accepted request.
  virtual void OnFinish(Outcome outcome) = 0;
};

}  // namespace braid
