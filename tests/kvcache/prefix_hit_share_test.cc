// Hit shares on the committed traces: counts, so the same everywhere.
#include <gtest/gtest.h>

#include "bench/hit_share.h"

namespace braid {
namespace {

struct Case {
  const char* trace;
  uint64_t tokens;
  double bound;  // published, of all blocks
  double lru;
  double least;  // ours, of the bound
};

class PrefixHitShareTest : public ::testing::TestWithParam<Case> {};

TEST_P(PrefixHitShareTest, HoldsItsShareOfTheClairvoyantBound) {
  const Case& c = GetParam();
  const auto trace = ReadMooncakeTrace(std::string(BRAID_SOURCE_DIR) +
                                       "/bench/traces/" + c.trace);
  ASSERT_TRUE(trace.ok()) << trace.status();
  const auto capacity = static_cast<uint32_t>(c.tokens / kTraceBlockTokens);
  const auto blocks = static_cast<double>(CountBlocks(*trace));
  const double bound = static_cast<double>(MinHits(*trace, capacity)) / blocks;
  const double lru = static_cast<double>(LruHits(*trace, capacity)) / blocks;
  EXPECT_NEAR(bound, c.bound, 0.0005);
  EXPECT_NEAR(lru, c.lru, 0.0006);
  const double ours =
      static_cast<double>(IndexHits(*trace, capacity, {})) / blocks;
  EXPECT_GE(ours / bound, c.least) << ours;
  EXPECT_LE(ours, bound);
}

INSTANTIATE_TEST_SUITE_P(
    Mooncake, PrefixHitShareTest,
    ::testing::Values(
        Case{"conversation_trace.jsonl.gz", 3'000'000, .353, .136, .548},
        Case{"conversation_trace.jsonl.gz", 10'000'000, .366, .285, .847},
        Case{"synthetic_trace.jsonl.gz", 3'000'000, .550, .309, .59},
        Case{"synthetic_trace.jsonl.gz", 10'000'000, .640, .567, .92}));

}  // namespace
}  // namespace braid
