#include "kvcache/transport/transfer_coverage.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

TransferPiece Piece(uint32_t first_pair, uint32_t end_pair,
                    uint32_t first_layer, uint32_t end_layer) {
  return {TransferId(1), first_pair, end_pair, first_layer, end_layer};
}

TEST(TransferCoverageTest, CompleteWhenEveryCellIsCovered) {
  TransferCoverage coverage(3, 4);
  EXPECT_TRUE(coverage.Add(Piece(0, 3, 2, 4)));
  EXPECT_TRUE(coverage.Add(Piece(0, 2, 0, 2)));
  EXPECT_FALSE(coverage.complete());
  EXPECT_TRUE(coverage.Add(Piece(2, 3, 0, 2)));
  EXPECT_TRUE(coverage.complete());
}

TEST(TransferCoverageTest, RepetitionChangesNothing) {
  TransferCoverage coverage(1, 2);
  EXPECT_TRUE(coverage.Add(Piece(0, 1, 0, 1)));
  EXPECT_FALSE(coverage.Add(Piece(0, 1, 0, 1)));
  EXPECT_FALSE(coverage.complete());
}

TEST(TransferCoverageTest, LayersThatDoNotTravelAreNotMissed) {
  TransferCoverage coverage(2, 4, /*first_layer=*/1);
  EXPECT_TRUE(coverage.Add(Piece(0, 2, 2, 4)));
  EXPECT_FALSE(coverage.complete());
  EXPECT_TRUE(coverage.Add(Piece(0, 2, 1, 2)));
  EXPECT_TRUE(coverage.complete());
}

TEST(TransferCoverageTest, NoPairsIsComplete) {
  EXPECT_TRUE(TransferCoverage(0, 30).complete());
}

using TransferCoverageDeathTest = ::testing::Test;

TEST(TransferCoverageDeathTest, PiecesFitAndDoNotOverlap) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TransferCoverage coverage(2, 4);
  EXPECT_TRUE(coverage.Add(Piece(0, 1, 0, 4)));
  EXPECT_DEATH((void)coverage.Add(Piece(0, 2, 0, 4)), "overlap");
  EXPECT_DEATH((void)coverage.Add(Piece(1, 3, 0, 4)), "CHECK");
  EXPECT_DEATH((void)coverage.Add(Piece(1, 2, 0, 5)), "CHECK");
  EXPECT_DEATH((void)coverage.Add(Piece(1, 1, 0, 4)), "CHECK");
  TransferCoverage without0(2, 4, 1);
  EXPECT_DEATH((void)without0.Add(Piece(0, 1, 0, 4)), "CHECK");
}

}  // namespace
}  // namespace braid
