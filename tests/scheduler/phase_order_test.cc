#include "scheduler/phase_order.h"

#include "gtest/gtest.h"

namespace braid {
namespace {

// A prompt of 300 ms, and a row that ends in 20 ms.
constexpr PhaseLoad kFewTokensLeft{.rows = 1,
                                   .rows_left = 0.02,
                                   .prompts = 1,
                                   .prompts_left = 0.3,
                                   .first_waited = 0,
                                   .last_waited = 0,
                                   .ttft_target = 2};

TEST(PhaseOrderTest, WhatKeepsFewerForLessTimeGoesFirst) {
  EXPECT_TRUE(RowsFirst(kFewTokensLeft));
  PhaseLoad load = kFewTokensLeft;
  load.rows_left = 0.2;
  EXPECT_FALSE(RowsFirst(load));
  // The prompt would keep four.
  load.rows = 4;
  EXPECT_TRUE(RowsFirst(load));
  // They would keep four prompts, of 300 ms each.
  load.prompts = 4;
  load.prompts_left = 1.2;
  EXPECT_FALSE(RowsFirst(load));
}

TEST(PhaseOrderTest, PromptsGoFirstBeforeTheirTargetIsNear) {
  PhaseLoad load = kFewTokensLeft;
  load.first_waited = load.last_waited = 1.4;
  EXPECT_TRUE(RowsFirst(load));
  load.first_waited = load.last_waited = 1.5;
  EXPECT_FALSE(RowsFirst(load));
}

// One after the other: of five prompts, the first has waited for long and is
// done soon, the last has just come and waits for the others.
TEST(PhaseOrderTest, EachPromptHasItsOwnTarget) {
  PhaseLoad load = kFewTokensLeft;
  load.prompts = 5;
  load.rows_left = 0.01;
  load.prompts_left = 1.5;
  load.first_waited = 1.4;
  EXPECT_TRUE(RowsFirst(load));
  load.last_waited = 0.35;
  EXPECT_FALSE(RowsFirst(load));
}

TEST(PhaseOrderTest, OnePhaseAloneHasNoOrder) {
  PhaseLoad load = kFewTokensLeft;
  load.rows = 0;
  EXPECT_FALSE(RowsFirst(load));
  load = kFewTokensLeft;
  load.prompts = 0;
  EXPECT_FALSE(RowsFirst(load));
}

}  // namespace
}  // namespace braid
