// PARSCALE on the fast kernels against the scalar reference, for every
// instruction set, kind, number of streams, length of prefix and format.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cpu/reference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cpu/tiny_streams.h"
#include "tests/support/test_name.h"

namespace braid::cpu {
namespace {

constexpr uint32_t kTokens = 50;

struct Shape {
  const char* name;
  TinyShape model;
  StreamsShape streams;
  int32_t active = 0;  // 0: all
  KvDType kv = KvDType::kF32;
  uint32_t block_tokens = 16;
};

TinyShape Floats(int32_t heads, int32_t kv_heads) {
  return {.dtype = DType::kF32,
          .value_dtype = DType::kF32,
          .heads = heads,
          .kv_heads = kv_heads};
}
// Quantised weights that do not blow up what a rounded input leaves.
TinyShape Superblocks(DType dtype, DType value_dtype) {
  return {.dtype = dtype,
          .value_dtype = value_dtype,
          .hidden = 256,
          .heads = 8,
          .kv_heads = 2,
          .ffn = 256};
}
TinyShape Blocks(DType dtype, DType value_dtype, int32_t heads) {
  return {.dtype = dtype,
          .value_dtype = value_dtype,
          .heads = heads,
          .pairing = RopePairing::kHalves};
}

constexpr ParscaleKind kNested = ParscaleKind::kNested;
constexpr ParscaleKind kPublished = ParscaleKind::kPublished;

const Shape kShapes[] = {
    {.name = "nested1of4", .model = Floats(3, 1), .streams = {}, .active = 1},
    {.name = "nested2of4", .model = Floats(3, 1), .streams = {}, .active = 2},
    {.name = "nested4", .model = Floats(3, 1), .streams = {}},
    {.name = "nested8prefix1",
     .model = Floats(2, 2),
     .streams = {.streams = 8, .prefix_tokens = 1, .dtype = DType::kF32}},
    {.name = "published1",
     .model = Floats(4, 2),
     .streams = {.kind = kPublished, .streams = 1, .prefix_tokens = 48}},
    {.name = "published2prefix16",
     .model = Floats(6, 1),
     .streams = {.kind = kPublished, .streams = 2, .prefix_tokens = 16}},
    {.name = "published4prefix48",
     .model = Floats(4, 4),
     .streams = {.kind = kPublished,
                 .prefix_tokens = 48,
                 .dtype = DType::kF16}},
    {.name = "published8prefix10",
     .model = Floats(4, 2),
     .streams = {.kind = kPublished, .streams = 8}},
    {.name = "nested4prefix17",
     .model = Blocks(DType::kBF16, DType::kF16, 3),
     .streams = {.prefix_tokens = 17}},
    {.name = "largeBlocks",
     .model = Floats(3, 1),
     .streams = {.prefix_tokens = 48},
     .block_tokens = 64},
    {.name = "halfKv",
     .model = Floats(6, 2),
     .streams = {.prefix_tokens = 10},
     .kv = KvDType::kF16},
    {.name = "q4_1",
     .model = Blocks(DType::kQ4_1, DType::kQ4_1, 3),
     .streams = {}},
    {.name = "q4_0",
     .model = Blocks(DType::kQ4_0, DType::kQ5_0, 6),
     .streams = {}},
    {.name = "q8_0",
     .model = Blocks(DType::kQ8_0, DType::kQ5_1, 2),
     .streams = {}},
    {.name = "q4_k",
     .model = Superblocks(DType::kQ4_K, DType::kQ6_K),
     .streams = {.kind = kPublished, .streams = 2}},
    {.name = "q5_k",
     .model = Superblocks(DType::kQ4_K, DType::kQ5_K),
     .streams = {.prefix_tokens = 1}},
};

std::vector<double> LogSoftmax(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(double{x} - max);
  std::vector<double> result(logits.begin(), logits.end());
  for (double& x : result) x -= max + std::log(sum);
  return result;
}

struct Errors {
  double mean = 0, worst = 0;
};

// How far the scores of a prompt are from logits [tokens][vocabulary].
Errors Compare(const std::vector<SampledToken>& scores,
               std::span<const float> logits) {
  Errors errors;
  for (size_t i = 0; i < scores.size(); ++i) {
    const std::vector<double> want = LogSoftmax(
        logits.subspan(i * TinyModel::kVocabulary, TinyModel::kVocabulary));
    // Nothing is reported of what is NaN.
    if (scores[i].top.size() != want.size()) return {INFINITY, INFINITY};
    for (const TokenLogprob& t : scores[i].top) {
      const double error = std::abs(t.logprob - want[t.token]);
      errors.mean += error;
      errors.worst = std::max(errors.worst, error);
    }
  }
  errors.mean /= static_cast<double>(scores.size()) * TinyModel::kVocabulary;
  return errors;
}

std::vector<SampledToken> RunFast(const TinyModel& tiny, const Shape& shape,
                                  const ParscaleSet& set, int32_t active,
                                  const std::vector<TokenId>& tokens, Isa isa) {
  RunnerDriver driver(PackWithSets(tiny, {&set, 1}, isa),
                      {.cores = {{0, 1}},
                       .block_tokens = shape.block_tokens,
                       .dtype = shape.kv});
  Gang gang(1, active, tokens);
  ForwardBatch batch;
  AddGang(driver, gang, active, kTokens, batch);
  ScoreRows(gang, TinyModel::kVocabulary, batch.sequences[0]);
  return driver.Step(batch).sequences[0].scores;
}

struct Case {
  Isa isa;
  Shape shape;
};
std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Isa isa : SupportedIsas()) {
    for (const Shape& shape : kShapes) cases.push_back({isa, shape});
  }
  return cases;
}

class StreamsReferenceTest : public testing::TestWithParam<Case> {};

// What the reference makes of a shape, once for all instruction sets.
const std::vector<float>& Wanted(const TinyModel& tiny, const Shape& shape,
                                 const ParscaleSet& set, int32_t active,
                                 const std::vector<TokenId>& tokens) {
  static auto* const made = new std::map<std::string, std::vector<float>>;
  std::vector<float>& logits = (*made)[shape.name];
  if (logits.empty()) {
    logits =
        reference::Forward(tiny.config(), tiny.weights(), set, active, tokens,
                           BlockColumns(shape.model.dtype) == 1
                               ? reference::LinearInputs::kBFloat16
                               : reference::LinearInputs::kInt8Blocks32);
  }
  return logits;
}

TEST_P(StreamsReferenceTest, LogprobsAreThoseOfTheReference) {
  const auto& [isa, shape] = GetParam();
  const TinyModel tiny(shape.model);
  const TinyStreams streams(tiny.config(), shape.streams);
  const int32_t active =
      shape.active > 0 ? shape.active : shape.streams.streams;
  const std::vector<TokenId> tokens = tiny.RandomTokens(kTokens, 5);
  const bool floats = BlockColumns(shape.model.dtype) == 1;
  const std::vector<float>& want =
      Wanted(tiny, shape, streams.set(), active, tokens);
  const std::vector<SampledToken> scores =
      RunFast(tiny, shape, streams.set(), active, tokens, isa);
  ASSERT_EQ(scores.size(), kTokens - 1);
  const Errors errors = Compare(scores, want);
  const bool halves = shape.kv == KvDType::kF16;
  const bool bf16 = shape.model.dtype == DType::kBF16;
  EXPECT_LE(errors.mean, !floats ? 2e-3 : bf16 ? 1e-3 : halves ? 3e-4 : 2e-6);
  EXPECT_LE(errors.worst, !floats ? 0.1 : bf16 ? 0.02 : halves ? 3e-3 : 2e-5);
  RecordProperty("mean", std::to_string(errors.mean));
  RecordProperty("worst", std::to_string(errors.worst));
}

INSTANTIATE_TEST_SUITE_P(All, StreamsReferenceTest, testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return TestName(ToString(info.param.isa)) + "_" +
                                  info.param.shape.name;
                         });

// Mistakes that leave the text plausible, made in the set that the fast kernels
// are given: each is seen far beyond the tolerance above.
class StreamsMistakeTest : public testing::Test {
 protected:
  // Replaces each key of the set by what `change` makes of it, given its place
  // in the prefix.
  template <typename Change>
  void ChangeKeys(Change change) {
    const auto d = static_cast<size_t>(tiny_.config().head_dim);
    for (std::vector<Tensor>& layers : set_.prefix_k) {
      for (Tensor& k : layers) {
        std::vector<std::byte> bytes(k.rows * d * sizeof(float));
        auto* values = reinterpret_cast<float*>(bytes.data());
        for (int64_t r = 0; r < k.rows; ++r) {
          DequantizeRow(k.dtype, k.row(r), k.columns, values + r * d);
          change(r % set_.prefix_tokens, std::span(values + r * d, d));
        }
        k = {DType::kF32, k.rows, k.columns, tiny_.Keep(std::move(bytes))};
      }
    }
  }

  // Keys as if each token of the prefix had been rotated to `position(t)`.
  template <typename Position>
  void RotatePrefix(Position position) {
    const RopeTable table =
        MakeRopeTable(tiny_.config().rope, tiny_.config().head_dim);
    RopeTable back = table;
    for (float& f : back.frequencies) f = -f;
    ChangeKeys([&](int64_t t, std::span<float> key) {
      const int64_t at = position(t);
      reference::Rope(at < 0 ? back : table, RopePairing::kHalves,
                      static_cast<uint32_t>(std::abs(at)), key);
    });
  }

  double WorstError() {
    const std::vector<TokenId> tokens = tiny_.RandomTokens(kTokens, 5);
    return Compare(RunFast(tiny_, kShape, set_, 4, tokens, BestIsa()),
                   reference::Forward(tiny_.config(), tiny_.weights(),
                                      streams_.set(), 4, tokens))
        .worst;
  }

  const Shape kShape = {.name = "",
                        .model = Floats(3, 1),
                        .streams = {.kind = kPublished, .prefix_tokens = 48}};
  TinyModel tiny_{kShape.model};
  const TinyStreams streams_{tiny_.config(), kShape.streams};
  ParscaleSet set_ = streams_.set();
};

TEST_F(StreamsMistakeTest, NoneIsNone) { EXPECT_LE(WorstError(), 2e-5); }
TEST_F(StreamsMistakeTest, Smoothing) {
  set_.smoothing = 0.01f;
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, WholeStreamsConcatenated) {
  // Column i * P + p of the file's matrix is read as column p * hidden + i.
  const int64_t h = tiny_.config().hidden, p = set_.streams;
  for (int64_t s = 0; s < p; ++s) {
    std::vector<std::byte> bytes(h * h * 2);
    for (int64_t r = 0; r < h; ++r) {
      for (int64_t c = 0; c < h; ++c) {
        const int64_t column = s * h + c;
        const Tensor& from = streams_.set().w1[column % p];
        std::copy_n(from.row(r) + column / p * 2, 2,
                    bytes.begin() + (r * h + c) * 2);
      }
    }
    set_.w1[s].data = tiny_.Keep(std::move(bytes));
  }
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, PrefixRotated) {
  RotatePrefix([](int64_t t) { return t; });
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, PositionsBehindThePrefix) {
  // Queries turned on by 48 meet the keys of the prefix as if those had been
  // turned back by as much; real tokens meet as before.
  RotatePrefix([](int64_t) { return -48; });
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, KeyLayout) {
  // As they lie where neighbours are paired.
  ChangeKeys([](int64_t, std::span<float> key) {
    const std::vector<float> halves(key.begin(), key.end());
    for (size_t i = 0; i < key.size(); ++i) {
      key[i] = halves[i / 2 + i % 2 * (key.size() / 2)];
    }
  });
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, StreamsExchanged) {
  std::swap(set_.prefix_k[1], set_.prefix_k[2]);
  std::swap(set_.prefix_v[1], set_.prefix_v[2]);
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, BiasMissing) {
  std::ranges::fill(set_.b1, 0.0f);
  EXPECT_GE(WorstError(), 2e-3);
}
TEST_F(StreamsMistakeTest, OneTokenOfThePrefixMissing) {
  // Its keys are so far away that nobody sees it.
  for (size_t s = 0; s < set_.prefix_k.size(); ++s) {
    for (size_t l = 0; l < set_.prefix_k[s].size(); ++l) {
      for (Tensor* t : {&set_.prefix_k[s][l], &set_.prefix_v[s][l]}) {
        const auto d = static_cast<size_t>(t->columns);
        std::vector<std::byte> bytes;
        for (int64_t r = 0; r < t->rows; ++r) {
          if (r % set_.prefix_tokens == 0) continue;
          bytes.insert(bytes.end(), t->row(r), t->row(r) + d * 2);
        }
        t->rows -= tiny_.config().kv_heads;
        t->data = tiny_.Keep(std::move(bytes));
      }
    }
  }
  set_.prefix_tokens -= 1;
  EXPECT_GE(WorstError(), 2e-3);
}

TEST(ParscalePackingTest, RefusesWhatDoesNotFit) {
  const TinyModel tiny({});
  const auto refusal = [&](const std::function<void(TinyStreams&)>& spoil) {
    TinyStreams streams(tiny.config(), {});
    spoil(streams);
    return CpuModel::Pack(tiny.config(), tiny.weights(), Isa::kPortable, 1,
                          {&streams.set(), 1})
        .status();
  };
  EXPECT_TRUE(refusal([](TinyStreams&) {}).ok());
  EXPECT_THAT(std::string(refusal([](TinyStreams& s) {
                            s.set().w1[2].rows -= 16;
                          }).message()),
              testing::HasSubstr("set tiny has w1 (stream 2) of 80 x 96"));
  EXPECT_THAT(std::string(refusal([](TinyStreams& s) {
                            s.set().prefix_v[1].pop_back();
                          }).message()),
              testing::HasSubstr("prefixes for 2 and 1 layers, not 2"));
  EXPECT_EQ(refusal([](TinyStreams& s) {
              s.set().w1[0] = s.Matrix(DType::kQ8_0, 96, 96);
            }).code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace braid::cpu
