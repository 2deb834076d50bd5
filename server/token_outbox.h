// The bounded outbox between the engine and one client's answer.
//
// Threads: the engine thread puts tokens in and never waits; the connection's
// thread takes everything at once. The engine wakes the reader when the outbox
// stops being empty, so a stream costs one wake-up per step at most, and none
// while its reader is behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/token_sink.h"

namespace braid::server {

// OK for kStop and kLength; else why there is no whole answer, for the client.
absl::Status OutcomeStatus(const Outcome& outcome);

class TokenOutbox final : public TokenSink {
 public:
  struct Batch {
    std::optional<std::vector<SampledToken>> prompt_scores;
    std::vector<SampledToken> tokens;
    std::vector<uint32_t> streams;  // by token
    std::string text;
    std::optional<Outcome> outcome;  // nothing follows

    void Clear();  // keeps the memory
  };

  // More than `max_tokens` tokens that nobody takes: the reader is too slow.
  // `wake` is called on the engine thread and must not block.
  TokenOutbox(size_t max_tokens, std::function<void()> wake);

  void OnPromptScores(std::vector<SampledToken> scores) override;
  bool OnTokens(const TokenDelta& delta) override;
  void OnFinish(Outcome outcome) override;

  // Replaces `batch`, whose memory is used again.
  void Take(Batch& batch);

 private:
  // Calls `wake` once per Take.
  void Signal(std::unique_lock<std::mutex> lock);

  const size_t max_tokens_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  Batch batch_;             // guarded by mutex_
  bool signalled_ = false;  // guarded by mutex_
};

}  // namespace braid::server
