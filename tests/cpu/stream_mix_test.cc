// The mix of streams alone: against the reference, and heads of all kinds in
// one pass against each in a pass of its own.
#include "cpu/stream_mix.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/reference.h"
#include "gtest/gtest.h"
#include "tests/cpu/tiny_streams.h"
#include "tests/support/test_name.h"

namespace braid::cpu {
namespace {

constexpr int32_t kSlots = 12;

class StreamMixTest : public testing::TestWithParam<Isa> {
 protected:
  StreamMixTest() {
    sets_ = {nested_.set(), published_.set()};
    model_ = PackWithSets(tiny_, sets_, GetParam());
  }

  // What becomes of the heads in one pass of `threads` threads, each head's
  // rows made from its key.
  std::vector<std::vector<float>> Mix(const std::vector<HeadRow>& heads,
                                      const std::vector<uint64_t>& keys,
                                      int threads) const {
    const int32_t hidden = tiny_.config().hidden;
    StreamMix mix(model_->packed(), kSlots);
    AlignedBytes memory(mix.bytes());
    // Whatever is not of a head is no number.
    std::fill_n(reinterpret_cast<float*>(memory.data()), mix.bytes() / 4,
                std::numeric_limits<float>::quiet_NaN());
    mix.Place(memory.data());
    for (size_t i = 0; i < heads.size(); ++i) {
      for (int32_t s = 0; heads[i].set > 0 && s < heads[i].streams; ++s) {
        std::ranges::copy(Row(keys[i], s), mix.row(static_cast<int32_t>(i), s));
      }
    }
    for (int t = 0; t < threads; ++t) {
      const int64_t tiles = hidden / kRowTile;
      mix.Project(heads, tiles * t / threads * kRowTile,
                  tiles * (t + 1) / threads * kRowTile);
    }
    std::vector<std::vector<float>> out;
    for (size_t i = 0; i < heads.size(); ++i) {
      out.emplace_back(hidden);
      if (heads[i].set == 0) continue;
      mix.Weigh(heads[i], static_cast<int32_t>(i), out.back().data());
    }
    return out;
  }
  std::vector<float> Row(uint64_t key, int32_t stream) const {
    Rng rng(key * 100 + static_cast<uint64_t>(stream));
    std::vector<float> row(tiny_.config().hidden);
    for (float& x : row) x = static_cast<float>(rng.Uniform() - 0.5);
    return row;
  }

  const TinyModel tiny_{{}};
  const TinyStreams nested_{tiny_.config(), {}};
  const TinyStreams published_{
      tiny_.config(),
      {.kind = ParscaleKind::kPublished, .streams = 2, .dtype = DType::kF32},
      77};
  std::vector<ParscaleSet> sets_;
  std::shared_ptr<const CpuModel> model_;
};

TEST_P(StreamMixTest, TogetherAsAloneAndAsTheReference) {
  std::vector<HeadRow> heads;
  for (const auto& [set, streams] :
       {std::pair(0, 1), std::pair(0, 1), std::pair(1, 4), std::pair(1, 4),
        std::pair(1, 3), std::pair(1, 3), std::pair(1, 2), std::pair(2, 2),
        std::pair(2, 2)}) {
    heads.push_back({.set = set, .streams = streams});
  }
  std::vector<uint64_t> keys;
  for (size_t i = 0; i < heads.size(); ++i) keys.push_back(i + 1);
  const auto together = Mix(heads, keys, 1);
  EXPECT_EQ(Mix(heads, keys, 2), together);
  for (size_t i = 2; i < heads.size(); ++i) {
    EXPECT_EQ(Mix({heads[i]}, {keys[i]}, 1)[0], together[i]) << i;
    std::vector<std::vector<float>> rows;
    for (int32_t s = 0; s < heads[i].streams; ++s) {
      rows.push_back(Row(keys[i], s));
    }
    const std::vector<float> want =
        reference::MixStreams(sets_[heads[i].set - 1], rows);
    for (size_t c = 0; c < want.size(); ++c) {
      EXPECT_NEAR(together[i][c], want[c], 2e-6) << i << " column " << c;
    }
  }
}

// What a pass relies on.
TEST_P(StreamMixTest, HeadsOfASetStandTogetherMostStreamsFirst) {
  const auto arena = KvArena::Create(model_->MakeKvLayout(16), 32);
  ASSERT_TRUE(arena.ok());
  const auto prefixes = PrefixPages::Make(model_->packed().sets,
                                          (*arena)->layout(), model_->isa());
  ASSERT_TRUE(prefixes.ok());
  const std::vector<TokenId> token = {7};
  const SamplingParams sampling;
  std::vector<BlockId> blocks;
  for (uint32_t i = 0; i < 32; ++i) blocks.emplace_back(i);
  ForwardBatch batch;
  size_t used = 0;
  for (const auto& [set, streams] :
       {std::pair(1u, 2u), std::pair(2u, 2u), std::pair(1u, 1u),
        std::pair(1u, 4u), std::pair(0u, 1u), std::pair(1u, 3u),
        std::pair(1u, 4u)}) {
    const size_t leader = used;
    for (uint32_t s = 0; s < streams; ++s, ++used) {
      batch.sequences.push_back({.tokens = token,
                                 .blocks = std::span(blocks).subspan(used, 1),
                                 .set = set,
                                 .stream = s});
      if (s > 0) {
        batch.sequences.back().stream0_blocks =
            std::span(blocks).subspan(leader, 1);
      }
    }
    batch.sequences[leader].sampling = &sampling;
    batch.sequences[leader].gang = streams;
  }
  StepRows step;
  step.Build(batch, model_->packed(), **arena, **prefixes, 64, 64, 2);
  std::vector<std::pair<int32_t, int32_t>> order;
  std::vector<int32_t> rows;
  for (const HeadRow& head : step.heads) {
    order.emplace_back(head.set, head.streams);
    rows.push_back(head.row);
  }
  const std::vector<std::pair<int32_t, int32_t>> want = {
      {0, 1}, {0, 1}, {1, 4}, {1, 4}, {1, 3}, {1, 2}, {2, 2}};
  EXPECT_EQ(order, want);
  EXPECT_EQ(rows, (std::vector<int32_t>{4, 9, 5, 13, 10, 0, 2}));
  EXPECT_EQ(step.head_rows.size(), 17u);
  EXPECT_EQ(step.RowOf(step.heads[3], 3), 16);
}

INSTANTIATE_TEST_SUITE_P(Isas, StreamMixTest,
                         testing::ValuesIn(SupportedIsas()), kNameOfParam);

}  // namespace
}  // namespace braid::cpu
