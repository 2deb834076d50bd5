// How drawn tokens become the text of an answer, and when it ends: by a token
// that ends a generation, by a stop string, or by its length.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/stop_matcher.h"
#include "engine/token_sink.h"
#include "model/tokenizer.h"

namespace braid {

class Answer final {
 public:
  // `tokenizer` outlives it.
  Answer(const GenerateRequest& request, const Tokenizer* tokenizer);

  // A token was drawn, and that many PARSCALE streams answered. `delta` becomes
  // what that adds to the answer; its memory is used again. What ends the
  // answer is returned: kStop or kLength; then nothing more may be pushed.
  std::optional<FinishReason> Push(SampledToken token, uint32_t streams,
                                   TokenDelta& delta);

  // Tokens drawn, the one that ended it included.
  uint32_t tokens() const { return tokens_; }
  const std::string& matched_stop() const { return matched_stop_; }

 private:
  bool EndsGeneration(TokenId token) const;

  const Tokenizer* const tokenizer_;
  const uint32_t max_tokens_;
  const int64_t min_tokens_;
  const bool ignore_eos_;
  Detokenizer detokenizer_;
  StopMatcher stops_;
  std::string matched_stop_;
  std::string fresh_;  // reused, so that a token allocates nothing
  uint32_t tokens_ = 0;
};

}  // namespace braid
