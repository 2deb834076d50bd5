#include "engine/request_record.h"

#include <utility>

namespace braid {

RequestRecord::RequestRecord(RequestId id, uint32_t prompt_tokens,
                             GenerateRequest request,
                             std::shared_ptr<TokenSink> sink,
                             const Tokenizer* tokenizer, TimePoint received)
    : id_(id),
      prompt_tokens_(prompt_tokens),
      sampling_(std::move(request.sampling)),
      max_output_(request.max_tokens),
      prompt_logprobs_(request.prompt_logprobs),
      deadline_(request.deadline),
      service_class_(request.service_class),
      tokenizer_(tokenizer),
      sink_(std::move(sink)),
      detokenizer_(tokenizer, request.show_special),
      stops_(std::move(request.stop), request.include_stop_in_text),
      last_token_(received),
      stages_(received) {}

Stage RequestRecord::Enter(Stage stage, TimePoint now) {
  const Stage before = stages_.stage();
  stages_.Enter(stage, now);
  return before;
}

void RequestRecord::Admitted(PlacementReport placement, uint32_t cached) {
  // What counts is what was found when it came.
  if (!admitted_) cached_ = cached;
  placement_ = std::move(placement);
  admitted_ = true;
}

void RequestRecord::Preempted() {
  ++preempted_;
  handed_over_ = false;
}

void RequestRecord::DeviceLost() {
  ++recomputed_;
  handed_over_ = false;
}

void RequestRecord::AddScores(std::vector<SampledToken> scores) {
  for (SampledToken& score : scores) scores_.push_back(std::move(score));
}

void RequestRecord::SendScores() {
  if (std::exchange(scores_sent_, true)) return;
  sink_->OnPromptScores(std::exchange(scores_, {}));
}

bool RequestRecord::EndsGeneration(TokenId token) const {
  return !sampling_.ignore_eos && tokenizer_->IsEndOfGeneration(token) &&
         static_cast<int64_t>(output_tokens_) > sampling_.min_tokens;
}

std::optional<FinishReason> RequestRecord::Accept(SampledToken token,
                                                  uint32_t streams,
                                                  TimePoint now) {
  ++output_tokens_;
  streams_ += streams;
  stages_.TokenDrawn(now);
  last_token_ = now;

  TokenDelta& delta = delta_;
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
  if (!nothing && !sink_->OnTokens(delta)) {
    return FinishReason::kCancelled;
  }
  return finish;
}

Outcome RequestRecord::Finish(Outcome outcome, TimePoint now) {
  if (outcome.reason == FinishReason::kStop) {
    outcome.matched_stop = matched_stop_;
  }
  outcome.output_tokens = output_tokens_;
  if (output_tokens_ > 0) {
    outcome.mean_streams = static_cast<double>(streams_) / output_tokens_;
  }
  outcome.id = id_;
  outcome.prompt_tokens = prompt_tokens_;
  outcome.cached_tokens = cached_;
  outcome.split = handed_over_;
  outcome.preempted = preempted_;
  outcome.recomputed = recomputed_;
  outcome.placement = std::move(placement_);
  outcome.placement.predicted_ttft = predicted_ttft_;
  outcome.times = stages_.Finish(now);
  sink_->OnFinish(outcome);
  sink_.reset();
  return outcome;
}

}  // namespace braid
