#include "simulator/hash_model.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace braid::hash_model {
namespace {

// A sequence of 10 tokens in blocks of 4, written as a runner does.
class HashModelTest : public ::testing::Test {
 protected:
  HashModelTest() {
    Rng rng(1);
    for (int i = 0; i < 10; ++i) {
      tokens_.push_back(static_cast<TokenId>(rng.Below(30)));
    }
    uint64_t context = kEmptyContext;
    for (uint32_t p = 0; p < tokens_.size(); ++p) {
      for (uint32_t layer = 0; layer < kLayers; ++layer) {
        place_.Write(layer, p,
                     layer == 0 ? Record0(p, tokens_[p])
                                : Record(context, layer, tokens_[p]));
      }
      context = Next(context, p, tokens_[p]);
    }
    context_ = context;
  }
  uint64_t Read() const { return place_.ReadContext(kEmptyContext, 0, 10); }

  std::unique_ptr<KvArena> arena_ = *KvArena::Create(Layout(4), 8);
  const std::vector<BlockId> blocks_ = {BlockId(5), BlockId(0), BlockId(2)};
  const KvPlace place_{*arena_, blocks_};
  std::vector<TokenId> tokens_;
  uint64_t context_ = 0;
};

TEST_F(HashModelTest, WhatIsReadBackIsWhatTheTokensSay) {
  EXPECT_EQ(Read(), context_);
  EXPECT_EQ(place_.ReadContext(Next(kEmptyContext, 0u, tokens_[0]), 1, 10),
            context_);
}

TEST_F(HashModelTest, EveryByteOfTheTokensCounts) {
  const size_t bytes = Layout(4).block_bytes();
  int counted = 0;
  for (BlockId block : blocks_) {
    for (size_t i = 0; i < bytes; ++i) {
      arena_->block(block)[i] ^= std::byte{0x10};
      counted += Read() != context_;
      arena_->block(block)[i] ^= std::byte{0x10};
    }
  }
  EXPECT_EQ(counted, 10 * kLayers * 8);
  EXPECT_EQ(Read(), context_);
}

TEST_F(HashModelTest, TheSameTokenBehindAnotherPrefixHasOtherKv) {
  const uint64_t other = Next(kEmptyContext, 0u, tokens_[0] + 1);
  EXPECT_NE(Record(other, 1, 7),
            Record(Next(kEmptyContext, 0u, tokens_[0]), 1, 7));
}

TEST(UndisturbedAnswerTest, EndsAtAStopString) {
  GenerateRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 200;
  request.sampling.ignore_eos = true;
  const Answer all = UndisturbedAnswer(request, 400);
  EXPECT_EQ(all.ids.size(), 200u);
  EXPECT_EQ(all.reason, FinishReason::kLength);
  request.stop = {"ab", "cc"};
  const Answer stopped = UndisturbedAnswer(request, 400);
  EXPECT_EQ(stopped.reason, FinishReason::kStop);
  const size_t first = std::min(all.text.find("ab"), all.text.find("cc"));
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(stopped.text, all.text.substr(0, first));
  EXPECT_EQ(stopped.matched_stop, all.text.substr(first, 2));
}

}  // namespace
}  // namespace braid::hash_model
