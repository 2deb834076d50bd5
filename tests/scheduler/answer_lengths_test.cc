#include "scheduler/answer_lengths.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

Request After(uint32_t said, uint32_t most, uint32_t service_class = 0) {
  Request request({.id = RequestId(1),
                   .prompt = {1, 2, 3},
                   .max_output = most,
                   .service_class = service_class},
                  /*slot=*/0);
  for (uint32_t i = 0; i < said; ++i) request.tokens.push_back(7);
  return request;
}

TEST(AnswerLengthsTest, ExpectsAllThatMayComeBeforeAnyHasEnded) {
  const AnswerLengths answers(1);
  EXPECT_EQ(answers.Expected(After(0, 100)), 100u);
  EXPECT_EQ(answers.Expected(After(30, 100)), 70u);
}

TEST(AnswerLengthsTest, LearnsByClass) {
  AnswerLengths answers(2);
  answers.Observe(After(40, 100, 1));
  EXPECT_EQ(answers.mean(0), 0);
  EXPECT_EQ(answers.mean(1), 40);
  answers.Observe(After(60, 100, 1));
  EXPECT_DOUBLE_EQ(answers.mean(1), 41);
  EXPECT_EQ(answers.Expected(After(0, 100, 0)), 100u);
  EXPECT_EQ(answers.Expected(After(0, 100, 1)), 41u);
  EXPECT_EQ(answers.Expected(After(0, 10, 1)), 10u);
}

// The mean says that it ends now; that it has not tells more.
TEST(AnswerLengthsTest, OneThatOutrunsTheMeanIsNotAboutToEnd) {
  AnswerLengths answers(1);
  answers.Observe(After(40, 1000));
  EXPECT_EQ(answers.Expected(After(60, 1000)), 1u);
  EXPECT_EQ(answers.Left(After(60, 1000)), 30u);
  EXPECT_EQ(answers.Left(After(10, 1000)), 30u);
  EXPECT_EQ(answers.Left(After(995, 1000)), 5u);
}

}  // namespace
}  // namespace braid
