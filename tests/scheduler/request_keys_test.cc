#include "scheduler/request_keys.h"

#include <set>

#include <gtest/gtest.h>

namespace braid {
namespace {

const StreamSet kNested{.id = 1,
                        .streams = 4,
                        .elastic = true,
                        .gain = {0, 1, 2, 3},
                        .fingerprint = 11};
const StreamSet kWhole{.id = 2,
                       .streams = 4,
                       .elastic = false,
                       .gain = {0, 1, 2, 3},
                       .fingerprint = 12};

Request Make(const StreamSet* set, uint32_t gang, bool skip_cached = true) {
  Request request({.id = RequestId(1),
                   .prompt = {1, 2, 3, 4},
                   .max_output = 4,
                   .prefix_seed = 7,
                   .skip_cached = skip_cached},
                  /*slot=*/0);
  request.set = set;
  request.gang = gang;
  return request;
}

// Stream 0 of a nested set is the model itself; all else is its own.
TEST(RequestKeysTest, OnlyEqualKvHasEqualSeeds) {
  const SchedulerConfig config;
  const Request plain = Make(nullptr, 1), elastic = Make(&kNested, 1);
  const Request gang = Make(&kNested, 4), whole = Make(&kWhole, 4);
  EXPECT_EQ(KeysOf(config, plain, 0).seed(), 7u);
  EXPECT_EQ(KeysOf(config, elastic, 0).seed(), 7u);
  EXPECT_EQ(KeysOf(config, gang, 0).seed(), 7u);
  std::set<uint64_t> seeds = {7, KeysOf(config, whole, 0).seed()};
  for (uint32_t stream = 1; stream < 4; ++stream) {
    seeds.insert(KeysOf(config, elastic, stream).seed());
    seeds.insert(KeysOf(config, elastic, stream, /*apart=*/true).seed());
    seeds.insert(KeysOf(config, gang, stream).seed());
    seeds.insert(KeysOf(config, whole, stream).seed());
  }
  EXPECT_EQ(seeds.size(), 2u + 3 * 4);
}

TEST(RequestKeysTest, ElasticStreamsAreEvictedFirst) {
  const SchedulerConfig config;
  EXPECT_FALSE(KeysOf(config, Make(&kNested, 1), 0).spare());
  EXPECT_TRUE(KeysOf(config, Make(&kNested, 1), 1).spare());
  EXPECT_FALSE(KeysOf(config, Make(&kNested, 4), 1).spare());
}

// A prompt that is scored is computed whole, and sent no further than needed;
// what was scored before is not scored again.
TEST(RequestKeysTest, ScoredPromptsSkipNothing) {
  SchedulerConfig config;
  Request request = Make(nullptr, 1, /*skip_cached=*/false);
  EXPECT_FALSE(MaySkip(config, request, 3));
  EXPECT_TRUE(MaySkip(config, request, 4));
  request.tokens.push_back(9);
  EXPECT_TRUE(MaySkip(config, request, 3));
  EXPECT_TRUE(MaySkip(config, Make(nullptr, 1), 3));
  config.prefix_cache = false;
  EXPECT_FALSE(MaySkip(config, Make(nullptr, 1), 3));
}

}  // namespace
}  // namespace braid
