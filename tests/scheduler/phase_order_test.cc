#include "scheduler/phase_order.h"

#include "gtest/gtest.h"

namespace braid {
namespace {

// A prompt of 300 ms, and a row that ends in 20 ms.
constexpr PhaseLoad kFewTokensLeft{.rows = 1,
                                   .rows_left = 0.02,
                                   .prompts = 1,
                                   .prompts_left = 0.3,
                                   .waited = 0,
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
  load.waited = 1.2;
  EXPECT_TRUE(RowsFirst(load));
  load.waited = 1.4;
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
