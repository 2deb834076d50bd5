#include "server/token_outbox.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

TokenDelta Tokens(size_t count) {
  TokenDelta delta;
  delta.tokens.resize(count);
  delta.text.assign(count, 'x');
  return delta;
}

TEST(TokenOutboxTest, HoldsAsMuchAsItMayAndNoMore) {
  TokenOutbox outbox(3, [] {});
  EXPECT_TRUE(outbox.OnTokens(Tokens(2)));
  EXPECT_FALSE(outbox.OnTokens(Tokens(2)));
  EXPECT_TRUE(outbox.OnTokens(Tokens(1)));
  EXPECT_FALSE(outbox.OnTokens(Tokens(1)));
  const TokenOutbox::Batch batch = outbox.Take();
  EXPECT_EQ(batch.tokens.size(), 3u);
  EXPECT_EQ(batch.text, "xxx");  // Nothing of what was refused.
  EXPECT_TRUE(outbox.OnTokens(Tokens(3)));
}

TEST(TokenOutboxTest, TheEndFitsAlways) {
  TokenOutbox outbox(0, [] {});
  EXPECT_FALSE(outbox.OnTokens(Tokens(1)));
  outbox.OnFinish({.reason = FinishReason::kCancelled});
  EXPECT_EQ(outbox.Take().outcome->reason, FinishReason::kCancelled);
  EXPECT_FALSE(outbox.Take().outcome.has_value());
}

TEST(TokenOutboxTest, WakesOncePerTake) {
  int wakes = 0;
  TokenOutbox outbox(100, [&] { ++wakes; });
  outbox.OnPromptScores({});
  EXPECT_TRUE(outbox.OnTokens(Tokens(1)));
  EXPECT_TRUE(outbox.OnTokens(Tokens(1)));
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(outbox.Take().prompt_scores.has_value());
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

}  // namespace
}  // namespace braid::server
