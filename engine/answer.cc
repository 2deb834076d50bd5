#include "engine/answer.h"

#include <utility>

namespace braid {

Answer::Answer(const GenerateRequest& request, const Tokenizer* tokenizer)
    : tokenizer_(tokenizer),
      max_tokens_(request.max_tokens),
      min_tokens_(request.sampling.min_tokens),
      ignore_eos_(request.sampling.ignore_eos),
      detokenizer_(tokenizer, request.show_special),
      stops_(request.stop, request.include_stop_in_text) {}

bool Answer::EndsGeneration(TokenId token) const {
  return !ignore_eos_ && tokenizer_->IsEndOfGeneration(token) &&
         int64_t{tokens_} > min_tokens_;
}

std::optional<FinishReason> Answer::Push(SampledToken token, uint32_t streams,
                                         TokenDelta& delta) {
  ++tokens_;
  delta.tokens.clear();
  delta.streams.clear();
  delta.text.clear();
  std::optional<FinishReason> finish;
  if (EndsGeneration(token.token)) {
    finish = FinishReason::kStop;
  } else {
    fresh_.clear();
    detokenizer_.Push(token.token, fresh_);
    delta.tokens.push_back(std::move(token));
    delta.streams.push_back(streams);
    if (int64_t{tokens_} < min_tokens_) {
      delta.text = fresh_;
    } else if (auto stop = stops_.Push(fresh_, delta.text)) {
      matched_stop_ = *std::move(stop);
      finish = FinishReason::kStop;
    }
    if (!finish && tokens_ >= max_tokens_) finish = FinishReason::kLength;
  }
  if (finish && matched_stop_.empty()) {
    // The text is over, so nothing is held back any longer: incomplete
    // characters first, for they may complete a stop string's beginning.
    fresh_.clear();
    detokenizer_.Flush(fresh_);
    if (auto stop = stops_.Push(fresh_, delta.text)) {
      matched_stop_ = *std::move(stop);
      finish = FinishReason::kStop;
    } else {
      stops_.Flush(delta.text);
    }
  }
  return finish;
}

}  // namespace braid
