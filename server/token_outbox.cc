#include "server/token_outbox.h"

#include <utility>

#include "server/request_error.h"

namespace braid::server {

absl::Status OutcomeStatus(const Outcome& outcome) {
  switch (outcome.reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      return absl::OkStatus();
    case FinishReason::kDeadline:
      if (outcome.status.ok()) {
        return absl::DeadlineExceededError(
            "the deadline passed before the answer was complete");
      }
      break;
    case FinishReason::kCancelled:
      return absl::CancelledError(
          "the server gave the request up: it is shutting down, or the client "
          "reads too slowly");
    case FinishReason::kFailed:
    case FinishReason::kRefused:
      break;
  }
  if (outcome.status.ok()) return absl::InternalError("failed");
  return outcome.retry_after > 0
             ? WithRetryAfter(outcome.status, outcome.retry_after)
             : outcome.status;
}

TokenOutbox::TokenOutbox(size_t max_tokens, std::function<void()> wake)
    : max_tokens_(max_tokens), wake_(std::move(wake)) {}

void TokenOutbox::OnPromptScores(std::vector<SampledToken> scores) {
  std::unique_lock lock(mutex_);
  batch_.prompt_scores = std::move(scores);
  Signal(std::move(lock));
}

bool TokenOutbox::OnTokens(const TokenDelta& delta) {
  std::unique_lock lock(mutex_);
  if (batch_.tokens.size() + delta.tokens.size() > max_tokens_) return false;
  batch_.tokens.insert(batch_.tokens.end(), delta.tokens.begin(),
                       delta.tokens.end());
  batch_.streams.insert(batch_.streams.end(), delta.streams.begin(),
                        delta.streams.end());
  batch_.text += delta.text;
  Signal(std::move(lock));
  return true;
}

void TokenOutbox::OnFinish(Outcome outcome) {
  std::unique_lock lock(mutex_);
  batch_.outcome = std::move(outcome);
  Signal(std::move(lock));
}

void TokenOutbox::Batch::Clear() {
  prompt_scores.reset();
  tokens.clear();
  streams.clear();
  text.clear();
  outcome.reset();
}

void TokenOutbox::Take(Batch& batch) {
  batch.Clear();
  std::lock_guard lock(mutex_);
  signalled_ = false;
  std::swap(batch_, batch);
}

void TokenOutbox::Signal(std::unique_lock<std::mutex> lock) {
  const bool first = !std::exchange(signalled_, true);
  lock.unlock();
  if (first) wake_();
}

}  // namespace braid::server
