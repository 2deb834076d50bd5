#include "engine/request_record.h"

#include <utility>

namespace braid {
namespace {

bool IsAnswer(FinishReason reason) {
  return reason == FinishReason::kStop || reason == FinishReason::kLength;
}

}  // namespace

RequestRecord::RequestRecord(RequestId id, uint32_t prompt_tokens,
                             const GenerateRequest& request,
                             std::shared_ptr<TokenSink> sink,
                             const Tokenizer* tokenizer, TimePoint received)
    : id_(id),
      prompt_tokens_(prompt_tokens),
      sampling_(request.sampling),
      prompt_logprobs_(request.prompt_logprobs),
      deadline_(request.deadline),
      service_class_(request.service_class),
      sink_(std::move(sink)),
      answer_(request, tokenizer),
      best_of_(request.best_of > 1
                   ? std::make_unique<BestOf>(request, tokenizer)
                   : nullptr),
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

std::optional<FinishReason> RequestRecord::Accept(SampledToken token,
                                                  uint32_t streams,
                                                  TimePoint now) {
  if (!first_token_sent()) first_token_ = now;
  streams_ += streams;
  stages_.TokenDrawn(now);
  last_token_ = now;
  if (best_of_ != nullptr) best_of_->NoteFirst(token);
  const std::optional<FinishReason> finish =
      answer_.Push(std::move(token), streams, delta_);
  const bool nothing = delta_.tokens.empty() && delta_.text.empty();
  if (!nothing && !sink_->OnTokens(delta_)) return FinishReason::kCancelled;
  return finish;
}

void RequestRecord::Linger(FinishReason reason, TimePoint until) {
  lingers_with_ = reason;
  lingers_until_ = until;
}

uint32_t RequestRecord::Chosen(FinishReason reason) const {
  if (best_of_ == nullptr || !IsAnswer(reason)) return 0;
  return best_of_->Best(/*first_is_complete=*/true);
}

// Where the request has an answer, it is the best candidate's.
void RequestRecord::Choose(Outcome& outcome) {
  outcome.best_of =
      IsAnswer(outcome.reason) ? best_of_->Finish() : best_of_->Abandon();
  if (const auto& answer = outcome.best_of->answer) {
    outcome.reason = answer->reason;
    outcome.matched_stop = answer->matched_stop;
    outcome.output_tokens = answer->output_tokens;
  }
}

Outcome RequestRecord::Finish(Outcome outcome, TimePoint now) {
  if (outcome.reason == FinishReason::kStop) {
    outcome.matched_stop = answer_.matched_stop();
  }
  outcome.output_tokens = answer_.tokens();
  if (answer_.tokens() > 0) {
    outcome.mean_streams = static_cast<double>(streams_) / answer_.tokens();
  }
  if (best_of_ != nullptr) Choose(outcome);
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
