// The text of a request that was replayed: the engine that goes on with it has
// not seen its beginning, so whoever replays makes the text of all tokens
// itself, stop strings included, by the engine's rules (request_record.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/stop_matcher.h"
#include "model/tokenizer.h"

namespace braid {

class ReplayedText final {
 public:
  ReplayedText(const GenerateRequest& request, const Tokenizer& tokenizer)
      : min_tokens_(request.sampling.min_tokens),
        detokenizer_(&tokenizer, request.show_special),
        stops_(request.stop, request.include_stop_in_text) {}

  // Adds what is certain with this token. A stop string that is complete ends
  // the request.
  std::optional<std::string> Push(TokenId token, std::string& text) {
    fresh_.clear();
    detokenizer_.Push(token, fresh_);
    if (++tokens_ < min_tokens_) {
      text += fresh_;
      return std::nullopt;
    }
    return stops_.Push(fresh_, text);
  }
  // The last token was the last.
  std::optional<std::string> Flush(std::string& text) {
    fresh_.clear();
    detokenizer_.Flush(fresh_);
    if (auto stop = stops_.Push(fresh_, text)) return stop;
    stops_.Flush(text);
    return std::nullopt;
  }

 private:
  const int64_t min_tokens_;
  int64_t tokens_ = 0;
  Detokenizer detokenizer_;
  StopMatcher stops_;
  std::string fresh_;
};

}  // namespace braid
