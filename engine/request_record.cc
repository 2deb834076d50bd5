#include "engine/request_record.h"

#include <utility>

#include "base/check.h"

namespace braid {

RequestRecord::RequestRecord(RequestId id, GenerateRequest request,
                             std::shared_ptr<TokenSink> sink,
                             const Tokenizer* tokenizer, TimePoint received)
    : id_(id),
      sampling_(std::move(request.sampling)),
      max_output_(request.max_tokens),
      prompt_logprobs_(request.prompt_logprobs),
      deadline_(request.deadline),
      tokenizer_(tokenizer),
      sink_(std::move(sink)),
      detokenizer_(tokenizer, request.show_special),
      stops_(std::move(request.stop), request.include_stop_in_text),
      last_token_(received) {
  times_.received = received;
}

void RequestRecord::Admitted(TimePoint now) {
  BRAID_CHECK(!admitted_);
  admitted_ = true;
  times_.admitted = times_.prefill_started = now;
}

void RequestRecord::PrefillEnded(TimePoint now) {
  // A prompt that is computed again belongs to the hand-over that failed.
  if (prefilled_) return;
  prefilled_ = true;
  times_.prefill_ended = now;
}

void RequestRecord::DecodeJoined(TimePoint now) {
  BRAID_CHECK(prefilled_ && !joined_);
  joined_ = true;
  times_.transfer_ended = now;
}

void RequestRecord::AddScores(std::vector<SampledToken> scores) {
  for (SampledToken& score : scores) scores_.push_back(std::move(score));
}

void RequestRecord::SendScores() {
  sink_->OnPromptScores(std::exchange(scores_, {}));
}

bool RequestRecord::EndsGeneration(TokenId token) const {
  return !sampling_.ignore_eos && tokenizer_->IsEndOfGeneration(token) &&
         static_cast<int64_t>(output_tokens_) > sampling_.min_tokens;
}

std::optional<FinishReason> RequestRecord::Accept(SampledToken token,
                                                  TimePoint now) {
  ++output_tokens_;
  if (output_tokens_ == 1) times_.first_token = now;
  last_token_ = now;

  TokenDelta delta;
  std::optional<FinishReason> finish;
  if (EndsGeneration(token.token)) {
    finish = FinishReason::kStop;
  } else {
    fresh_.clear();
    detokenizer_.Push(token.token, fresh_);
    delta.tokens.push_back(std::move(token));
    if (static_cast<int64_t>(output_tokens_) < sampling_.min_tokens) {
      delta.text = fresh_;
    } else if (auto stop = stops_.Push(fresh_, delta.text)) {
      matched_stop_ = *std::move(stop);
      finish = FinishReason::kStop;
    }
    if (!finish && output_tokens_ >= max_output_) {
      finish = FinishReason::kLength;
    }
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
  const bool nothing = delta.tokens.empty() && delta.text.empty();
  if (!nothing && !sink_->OnTokens(std::move(delta))) {
    return FinishReason::kCancelled;
  }
  return finish;
}

Outcome RequestRecord::Finish(Outcome outcome, TimePoint now) {
  // A stage that did not happen ends when it began; the one that was going on
  // ends now.
  times_.finished = now;
  if (!admitted_) times_.admitted = times_.prefill_started = now;
  if (!prefilled_) times_.prefill_ended = now;
  if (!joined_) times_.transfer_ended = now;
  if (output_tokens_ == 0) times_.first_token = now;
  if (outcome.reason == FinishReason::kStop) {
    outcome.matched_stop = matched_stop_;
  }
  outcome.output_tokens = output_tokens_;
  outcome.split = handed_over_;
  outcome.times = times_;
  sink_->OnFinish(outcome);
  sink_.reset();
  return outcome;
}

}  // namespace braid
