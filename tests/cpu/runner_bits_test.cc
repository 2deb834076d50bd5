// The bits of a row do not depend on what is computed beside it: chunks, other
// sequences, cores, lenders and blocks.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cpu/runner_driver.h"
#include "tests/cpu/tiny_model.h"

namespace braid::cpu {
namespace {

constexpr uint32_t kTokens = 150;

const TinyShape kShape = {.hidden = 96, .heads = 6, .kv_heads = 2};

// All that a run leaves behind of a sequence: the logprobs of its own tokens
// and of the most probable ones, a drawn token, and its KV.
struct Trace {
  std::vector<SampledToken> scores;
  SampledToken drawn;
  std::vector<std::byte> kv;

  friend bool operator==(const Trace&, const Trace&) = default;
};

struct Setup {
  const char* name = "";
  uint32_t chunk = kTokens;
  uint32_t others = 0;  // sequences beside it in every step
  std::vector<std::vector<int>> cores = {{0}};
  bool lend = false;
  uint32_t shuffle = 0;
  uint32_t block_tokens = 16;
};

Trace TraceOf(const TinyModel& tiny, const Setup& setup, Isa isa) {
  RunnerDriver driver(tiny.Pack(isa), {.cores = setup.cores,
                                       .block_tokens = setup.block_tokens,
                                       .shuffle_blocks = setup.shuffle});
  RunnerDriver::Sequence sequence{.tokens = tiny.RandomTokens(kTokens, 1)};
  std::vector<RunnerDriver::Sequence> others;
  for (uint32_t i = 0; i < setup.others; ++i) {
    others.push_back({.tokens = tiny.RandomTokens(200, 100 + i)});
  }
  const SamplingParams sampling = {.temperature = 0.9f, .seed = 3};
  Trace trace;
  while (sequence.written < kTokens) {
    const uint32_t n = std::min(setup.chunk, kTokens - sequence.written);
    ForwardBatch batch;
    // Of various lengths, so that tiles fall differently.
    for (uint32_t i = 0; i < setup.others; ++i) {
      const uint32_t left =
          static_cast<uint32_t>(others[i].tokens.size()) - others[i].written;
      if (left == 0) continue;
      batch.sequences.push_back(
          driver.Rows(others[i], std::min(left, 1 + i % 3)));
    }
    const size_t mine = batch.sequences.size() / 2;
    SequenceRows rows = driver.Rows(sequence, n);
    rows.score_top_logprobs = 5;
    const uint32_t targets = std::min(n, kTokens - 1 - sequence.written);
    rows.score_targets =
        std::span(sequence.tokens).subspan(sequence.written + 1, targets);
    if (sequence.written + n == kTokens) {
      rows.sampling = &sampling;
      rows.context.position = kTokens;
    }
    batch.sequences.insert(batch.sequences.begin() + mine, rows);
    if (setup.lend) batch.lent = {DeviceId(1)};
    ForwardResult result = driver.Step(batch);
    for (SampledToken& score : result.sequences[mine].scores) {
      trace.scores.push_back(std::move(score));
    }
    if (result.sequences[mine].token.has_value()) {
      trace.drawn = *result.sequences[mine].token;
    }
    sequence.written += n;
    size_t at = 0;
    for (RunnerDriver::Sequence& other : others) {
      if (other.written == other.tokens.size()) continue;
      if (at == mine) ++at;
      other.written +=
          static_cast<uint32_t>(batch.sequences[at++].tokens.size());
    }
  }
  trace.kv = driver.KvOf(sequence);
  return trace;
}

const Setup kSetups[] = {
    {.name = "ByOne", .chunk = 1},
    {.name = "BySeven", .chunk = 7},
    {.name = "ByABlock", .chunk = 16},
    {.name = "BySeventeen", .chunk = 17},
    {.name = "TwoCores", .cores = {{0, 1}}},
    {.name = "TwoCoresByOne", .chunk = 1, .cores = {{0, 1}}},
    {.name = "ThreeCoresBySeventy", .chunk = 70, .cores = {{0, 1, 2}}},
    {.name = "Lent", .chunk = 64, .cores = {{0}, {1}}, .lend = true},
    {.name = "InACrowd", .others = 15},
    {.name = "InACrowdByOne", .chunk = 1, .others = 15, .cores = {{0, 1}}},
    {.name = "InACrowdLent",
     .chunk = 40,
     .others = 15,
     .cores = {{0}, {1}},
     .lend = true},
    {.name = "ShuffledBlocks", .chunk = 33, .shuffle = 9},
    {.name = "LargeBlocks", .chunk = 33, .block_tokens = 64},
};

class RunnerBitsTest : public testing::TestWithParam<Setup> {};

TEST_P(RunnerBitsTest, AsAloneOnOneCoreInOneChunk) {
  const TinyModel tiny(kShape);
  for (const Isa isa : SupportedIsas()) {
    const Trace alone = TraceOf(tiny, {}, isa);
    ASSERT_EQ(alone.scores.size(), kTokens - 1);
    EXPECT_TRUE(TraceOf(tiny, GetParam(), isa) == alone) << ToString(isa);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RunnerBitsTest, testing::ValuesIn(kSetups),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// The tokens that one step draws at the ends of whole prompts.
std::vector<SampledToken> DrawnAtEnds(const TinyModel& tiny, Isa isa,
                                      const std::vector<int>& cores,
                                      const std::vector<uint32_t>& lengths) {
  RunnerDriver driver(tiny.Pack(isa), {.cores = {cores}});
  const SamplingParams greedy = {.temperature = 0, .top_logprobs = 5};
  std::vector<RunnerDriver::Sequence> prompts;
  for (const uint32_t length : lengths) {
    prompts.push_back({.tokens = tiny.RandomTokens(length, length)});
  }
  ForwardBatch batch;
  for (RunnerDriver::Sequence& prompt : prompts) {
    const auto length = static_cast<uint32_t>(prompt.tokens.size());
    SequenceRows& rows =
        batch.sequences.emplace_back(driver.Rows(prompt, length));
    rows.sampling = &greedy;
    rows.context.position = length;
  }
  std::vector<SampledToken> drawn;
  for (SequenceResult& result : driver.Step(batch).sequences) {
    drawn.push_back(*std::move(result.token));
  }
  return drawn;
}

// Behind the last layer's attention only a few rows are left, wherever in the
// step: one alone, several in a tile, tiles without any.
TEST(RunnerLastRowsTest, AsAloneOnOneCore) {
  const TinyModel tiny(kShape);
  for (const Isa isa : SupportedIsas()) {
    for (const std::vector<uint32_t>& lengths :
         {std::vector<uint32_t>{200}, std::vector<uint32_t>{70, 130},
          std::vector<uint32_t>{90, 3, 1, 129, 70}}) {
      std::vector<SampledToken> alone;
      for (const uint32_t length : lengths) {
        alone.push_back(DrawnAtEnds(tiny, isa, {0}, {length})[0]);
      }
      EXPECT_EQ(DrawnAtEnds(tiny, isa, {0, 1}, lengths), alone)
          << ToString(isa);
      EXPECT_EQ(DrawnAtEnds(tiny, isa, {0, 1, 2}, lengths), alone)
          << ToString(isa);
    }
  }
}

// The comparison can fail: a model whose FFN has its first two blocks of
// columns exchanged computes the same sums in another order.
TEST(RunnerBitsControlTest, AnotherOrderOfSummationIsSeen) {
  const TinyModel tiny(kShape);
  TinyModel exchanged(kShape);
  for (LayerWeights& layer : exchanged.weights().layers) {
    for (Tensor* w : {&layer.gate, &layer.up}) {
      std::vector<std::byte> rows(w->data, w->data + w->bytes());
      std::swap_ranges(rows.begin(), rows.begin() + 32 * w->row_bytes(),
                       rows.begin() + 32 * w->row_bytes());
      w->data = exchanged.Keep(std::move(rows));
    }
    Tensor& down = layer.down;
    std::vector<std::byte> rows(down.data, down.data + down.bytes());
    const auto block = static_cast<size_t>(BlockBytes(down.dtype));
    for (int64_t r = 0; r < down.rows; ++r) {
      const auto row = rows.begin() + r * down.row_bytes();
      std::swap_ranges(row, row + block, row + block);
    }
    down.data = exchanged.Keep(std::move(rows));
  }
  const Trace a = TraceOf(tiny, {}, BestIsa());
  const Trace b = TraceOf(exchanged, {}, BestIsa());
  EXPECT_FALSE(a == b);
  for (size_t i = 0; i < a.scores.size(); ++i) {
    EXPECT_NEAR(a.scores[i].logprob, b.scores[i].logprob, 0.1) << i;
  }
}

TEST(RunnerProgressTest, ReportsLayerGroupsInOrder) {
  TinyShape shape = kShape;
  shape.layers = 5;
  const TinyModel tiny(shape);
  RunnerDriver driver(tiny.Pack(BestIsa()), {.cores = {{0}, {1}}});
  RunnerDriver::Sequence sequence{.tokens = tiny.RandomTokens(20, 1)};
  ForwardBatch batch;
  batch.sequences = {driver.Rows(sequence, 20)};
  batch.progress_layers = 2;
  batch.lent = {DeviceId(1)};
  std::vector<uint32_t> reported;
  const ForwardResult result = driver.Step(
      batch, 0, [&](uint32_t layers) { reported.push_back(layers); });
  EXPECT_THAT(reported, testing::ElementsAre(2, 4, 5));
  EXPECT_FALSE(result.sequences[0].token.has_value());
}

TEST(MakeCpuRunnersTest, RefusesWhatDoesNotFit) {
  const TinyModel tiny(kShape);
  const auto model = tiny.Pack(Isa::kPortable);
  const auto arena = KvArena::Create(model->MakeKvLayout(16), 4);
  ASSERT_TRUE(arena.ok());
  const auto refusal = [&](std::vector<CpuDeviceSpec> devices) {
    const auto runners =
        MakeCpuRunners(model, std::move(devices), {.pin_threads = false});
    return std::string(runners.status().message());
  };
  EXPECT_THAT(refusal({{DeviceId(0), {0}, arena->get()},
                       {DeviceId(1), {0}, arena->get()}}),
              testing::HasSubstr("core 0 is named twice"));
  EXPECT_THAT(refusal({{DeviceId(0), {}, arena->get()}}),
              testing::HasSubstr("device 0 has no cores"));
  KvLayout other = model->MakeKvLayout(16);
  other.kv_heads += 1;
  const auto wrong = KvArena::Create(other, 4);
  ASSERT_TRUE(wrong.ok());
  EXPECT_THAT(refusal({{DeviceId(0), {0}, wrong->get()}}),
              testing::HasSubstr("the model needs"));
}

}  // namespace
}  // namespace braid::cpu
