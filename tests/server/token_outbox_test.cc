#include "server/token_outbox.h"

#include <vector>

#include <gtest/gtest.h>

#include "server/request_error.h"

namespace braid::server {
namespace {

TokenDelta Tokens(size_t count) {
  TokenDelta delta;
  delta.tokens.resize(count);
  delta.text.assign(count, 'x');
  return delta;
}

TokenOutbox::Batch Take(TokenOutbox& outbox) {
  TokenOutbox::Batch batch;
  outbox.Take(batch);
  return batch;
}

TEST(TokenOutboxTest, HoldsAsMuchAsItMayAndNoMore) {
  TokenOutbox outbox(3, [] {});
  EXPECT_TRUE(outbox.OnTokens(Tokens(2)));
  EXPECT_FALSE(outbox.OnTokens(Tokens(2)));
  EXPECT_TRUE(outbox.OnTokens(Tokens(1)));
  EXPECT_FALSE(outbox.OnTokens(Tokens(1)));
  const TokenOutbox::Batch batch = Take(outbox);
  EXPECT_EQ(batch.tokens.size(), 3u);
  EXPECT_EQ(batch.text, "xxx");  // Nothing of what was refused.
  EXPECT_TRUE(outbox.OnTokens(Tokens(3)));
}

TEST(TokenOutboxTest, TheEndFitsAlways) {
  TokenOutbox outbox(0, [] {});
  EXPECT_FALSE(outbox.OnTokens(Tokens(1)));
  outbox.OnFinish({.reason = FinishReason::kCancelled});
  EXPECT_EQ(Take(outbox).outcome->reason, FinishReason::kCancelled);
  EXPECT_FALSE(Take(outbox).outcome.has_value());
}

TEST(TokenOutboxTest, WakesOncePerTake) {
  int wakes = 0;
  TokenOutbox outbox(100, [&] { ++wakes; });
  outbox.OnPromptScores({});
  EXPECT_TRUE(outbox.OnTokens(Tokens(1)));
  EXPECT_TRUE(outbox.OnTokens(Tokens(1)));
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(Take(outbox).prompt_scores.has_value());
  EXPECT_EQ(wakes, 1);
  outbox.OnFinish({});
  EXPECT_EQ(wakes, 2);
}

TEST(TokenOutboxTest, OutcomesAsClientsSeeThem) {
  const auto code = [](FinishReason reason, absl::Status status = {}) {
    return OutcomeStatus({.reason = reason, .status = std::move(status)})
        .code();
  };
  EXPECT_EQ(code(FinishReason::kStop), absl::StatusCode::kOk);
  EXPECT_EQ(code(FinishReason::kLength), absl::StatusCode::kOk);
  EXPECT_EQ(code(FinishReason::kDeadline), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(code(FinishReason::kCancelled), absl::StatusCode::kCancelled);
  EXPECT_EQ(code(FinishReason::kFailed), absl::StatusCode::kInternal);
  EXPECT_EQ(code(FinishReason::kFailed, absl::UnavailableError("")),
            absl::StatusCode::kUnavailable);
}

TEST(TokenOutboxTest, ARefusalSaysWhenToComeBack) {
  const absl::Status status =
      OutcomeStatus({.reason = FinishReason::kRefused,
                     .status = absl::ResourceExhaustedError("full"),
                     .retry_after = 2.25});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryAfter(status), 2.25);
}

// What one reader takes again and again is the memory that it gave back.
TEST(TokenOutboxTest, TakingAllocatesNothingInTheEnd) {
  TokenOutbox outbox(100, [] {});
  TokenOutbox::Batch batch;
  std::vector<const SampledToken*> seen;
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(outbox.OnTokens(Tokens(4)));
    outbox.Take(batch);
    EXPECT_EQ(batch.tokens.size(), 4u);
    EXPECT_EQ(batch.text, "xxxx");
    seen.push_back(batch.tokens.data());
  }
  EXPECT_EQ(seen[2], seen[4]);
  EXPECT_EQ(seen[3], seen[5]);
}

}  // namespace
}  // namespace braid::server
