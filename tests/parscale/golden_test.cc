// Models with streams against independent implementations (make_golden.py): the
// scalar reference and the fast kernels, from files as they are published.
#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cpu/reference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/huggingface_model.h"
#include "model/model_file.h"
#include "model/parscale.h"
#include "model/sha256.h"
#include "tests/cpu/golden/tiny_golden.h"
#include "tests/cpu/tiny_streams.h"
#include "tests/parscale/generated_model.h"

namespace braid::parscale {
namespace {

constexpr size_t kPositions[] = {0, 1, 9, 33};
constexpr size_t kTokens = 34;
// In the order of the golden files.
constexpr const char* kMistakes[] = {
    "streams_concatenated",   "smoothing_0.01",         "prefix_rotated",
    "positions_after_prefix", "norm_after_aggregation", "adjacent_key_layout"};

// The largest difference of a log probability that rounding explains.
constexpr double kReferenceTolerance = 5e-5;
constexpr double kFastTolerance = 5e-4;
// Where sums differ in their last bit, an input may round to the next bfloat16,
// and random weights amplify that as they do the rounding: of what that costs.
constexpr double kRoundingShare = 0.5;
// What each mistake has to be away from the truth.
constexpr double kMistakeDistance = 0.05;

using Logprobs = std::vector<double>;

Logprobs LogSoftmax(std::span<const float> logits) {
  const double max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(double{x} - max);
  Logprobs result(logits.begin(), logits.end());
  for (double& x : result) x -= max + std::log(sum);
  return result;
}

double Distance(const Logprobs& a, const Logprobs& b) {
  BRAID_CHECK(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
  }
  return worst;
}

struct Golden {
  int32_t first_p = 1;                      // of runs[0]
  std::vector<std::vector<Logprobs>> runs;  // by p and position
  std::vector<Logprobs> mistakes;           // none for one stream
};

Golden ReadGolden(const Case& c) {
  golden::Cursor in(std::string(BRAID_SOURCE_DIR) + "/tests/parscale/golden/" +
                    c.name + ".logits");
  const auto row = [&] {
    return LogSoftmax(in.Take<float>(static_cast<size_t>(c.vocabulary)));
  };
  Golden golden;
  golden.first_p = c.nested ? 1 : c.streams;
  for (int32_t p = golden.first_p; p <= c.streams; ++p) {
    std::vector<Logprobs>& run = golden.runs.emplace_back();
    for (size_t i = 0; i < std::size(kPositions); ++i) run.push_back(row());
  }
  for (size_t i = 0; c.streams > 1 && i < std::size(kMistakes); ++i) {
    golden.mistakes.push_back(row());
  }
  BRAID_CHECK(in.AtEnd());
  return golden;
}

// A case's files, read.
struct Loaded {
  ModelFile::Parts parts;
  std::optional<ParscaleSet> set;
};

class GoldenTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Loaded Load(RopePairing adapter_layout = RopePairing::kHalves) {
    WriteModel(GetParam(), folder_);
    auto parts = ReadHuggingFaceWeights(folder_);
    BRAID_CHECK_MSG(parts.ok(), parts.status().ToString());
    Loaded loaded{.parts = *std::move(parts), .set = std::nullopt};
    loaded.set = std::move(loaded.parts.parscale);
    if (!GetParam().nested) return loaded;
    const std::vector<std::string> weights = {folder_ + "/model.safetensors"};
    const std::string adapter = folder_ + "/adapter.safetensors";
    MakeAdapter(GetParam(), *Sha256OfFiles(weights), adapter_layout)
        .Write(adapter);
    auto set = LoadParscaleAdapter(adapter, folder_, loaded.parts.config);
    BRAID_CHECK_MSG(set.ok(), set.status().ToString());
    loaded.set = *std::move(set);
    return loaded;
  }

  // Log probabilities after each golden position.
  std::vector<Logprobs> Reference(
      const Loaded& loaded, int32_t p,
      reference::LinearInputs inputs = reference::LinearInputs::kFloat) const {
    const std::vector<TokenId> tokens = GeneratedTokens(GetParam(), kTokens);
    const ModelConfig& config = loaded.parts.config;
    const ModelWeights& weights = loaded.parts.weights;
    const std::vector<float> logits =
        loaded.set ? reference::Forward(config, weights, *loaded.set, p, tokens,
                                        inputs)
                   : reference::Forward(config, weights, tokens, inputs);
    const auto vocabulary = static_cast<size_t>(config.vocabulary);
    std::vector<Logprobs> result;
    for (const size_t at : kPositions) {
      result.push_back(
          LogSoftmax(std::span(logits).subspan(at * vocabulary, vocabulary)));
    }
    return result;
  }

  std::vector<Logprobs> Fast(const Loaded& loaded, int32_t p,
                             cpu::Isa isa) const {
    std::vector<ParscaleSet> sets;
    if (loaded.set) sets.push_back(*loaded.set);
    const auto model = cpu::CpuModel::Pack(loaded.parts.config,
                                           loaded.parts.weights, isa, 1, sets);
    BRAID_CHECK_MSG(model.ok(), model.status().ToString());
    cpu::RunnerDriver driver(*model, {.dtype = KvDType::kF32});
    // A row is scored against the token behind it.
    cpu::Gang gang(loaded.set ? 1 : 0, static_cast<size_t>(p),
                   GeneratedTokens(GetParam(), kTokens + 1));
    ForwardBatch batch;
    cpu::AddGang(driver, gang, static_cast<size_t>(p), kTokens, batch);
    cpu::ScoreRows(gang, GetParam().vocabulary, batch.sequences[0]);
    const ForwardResult result = driver.Step(batch);
    std::vector<Logprobs> logprobs;
    for (const size_t at : kPositions) {
      const SampledToken& score = result.sequences[0].scores.at(at);
      Logprobs& row = logprobs.emplace_back(score.top.size());
      for (const TokenLogprob& t : score.top) {
        row.at(static_cast<size_t>(t.token)) = t.logprob;
      }
    }
    return logprobs;
  }

  // How far the runs of all p are from the golden ones; `run` makes one.
  template <typename Run>
  double WorstDistance(Run run) const {
    double worst = 0;
    for (size_t i = 0; i < golden_.runs.size(); ++i) {
      const std::vector<Logprobs> got =
          run(golden_.first_p + static_cast<int32_t>(i));
      for (size_t at = 0; at < got.size(); ++at) {
        worst = std::max(worst, Distance(got[at], golden_.runs[i][at]));
      }
    }
    return worst;
  }
  double WorstOfReference(const Loaded& loaded) const {
    return WorstDistance([&](int32_t p) { return Reference(loaded, p); });
  }
  // The kernels round what BF16 matrices are multiplied with. The golden runs
  // do not, and a model of random weights tells: there the kernels are held to
  // the reference, which rounds as they do and else agrees with the golden
  // runs.
  bool rounds() const { return GetParam().dtype == DType::kBF16; }
  void ExpectFastAgrees(const Loaded& loaded, cpu::Isa isa) const {
    const auto run = [&](int32_t p) { return Fast(loaded, p, isa); };
    if (!rounds()) {
      const double worst = WorstDistance(run);
      RecordProperty(std::string(cpu::ToString(isa)), std::to_string(worst));
      EXPECT_LE(worst, kFastTolerance) << cpu::ToString(isa);
      return;
    }
    double worst = 0;
    const double cost = WorstDistance([&](int32_t p) {
      std::vector<Logprobs> want =
          Reference(loaded, p, reference::LinearInputs::kBFloat16);
      const std::vector<Logprobs> got = run(p);
      for (size_t at = 0; at < got.size(); ++at) {
        worst = std::max(worst, Distance(got[at], want[at]));
      }
      return want;
    });
    RecordProperty(std::string(cpu::ToString(isa)), std::to_string(worst));
    EXPECT_LE(worst, kRoundingShare * cost) << cpu::ToString(isa);
  }

  const Golden golden_ = ReadGolden(GetParam());
  const std::string folder_ =
      testing::TempDir() + "parscale_golden_" +
      absl::StrReplaceAll(
          testing::UnitTest::GetInstance()->current_test_info()->name(),
          {{"/", "_"}});
};

TEST_P(GoldenTest, TheReferenceAgrees) {
  const double worst = WorstOfReference(Load());
  RecordProperty("worst", std::to_string(worst));
  EXPECT_LE(worst, kReferenceTolerance);
}

TEST_P(GoldenTest, TheFastKernelsAgree) {
  const Loaded loaded = Load();
  for (const cpu::Isa isa : cpu::SupportedIsas()) {
    ExpectFastAgrees(loaded, isa);
  }
}

TEST_P(GoldenTest, NoMistakeWouldPass) {
  if (GetParam().streams == 1) return;
  const Loaded loaded = Load();
  const Logprobs reference = Reference(loaded, GetParam().streams).back();
  const Logprobs fast = Fast(loaded, GetParam().streams, cpu::BestIsa()).back();
  for (size_t i = 0; i < std::size(kMistakes); ++i) {
    EXPECT_GE(Distance(reference, golden_.mistakes[i]), kMistakeDistance)
        << kMistakes[i];
    if (rounds()) continue;  // That alone is far from anything golden.
    EXPECT_GE(Distance(fast, golden_.mistakes[i]), kMistakeDistance)
        << kMistakes[i];
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, testing::ValuesIn(ReadCases()),
                         [](const auto& info) { return info.param.name; });

// Where a model pairs neighbours, as Llama in GGUF files does, and where an
// adapter's keys do: four combinations, one result.
class KeyLayoutTest : public GoldenTest {
 protected:
  // Reorders rows of q or k as GGUF has them.
  Tensor Adjacent(const Tensor& from) {
    std::vector<std::byte>& bytes = kept_.emplace_back(from.bytes());
    for (int64_t r = 0; r < from.rows; ++r) {
      const int64_t to = ToAdjacent(r, GetParam().head_dim);
      std::copy_n(from.row(r), from.row_bytes(),
                  bytes.data() + static_cast<size_t>(to) * from.row_bytes());
    }
    return {from.dtype, from.rows, from.columns, bytes.data()};
  }
  void PairNeighbours(Loaded& loaded) {
    loaded.parts.config.rope.pairing = RopePairing::kAdjacent;
    for (LayerWeights& layer : loaded.parts.weights.layers) {
      layer.q = Adjacent(layer.q);
      layer.k = Adjacent(layer.k);
    }
  }

  std::deque<std::vector<std::byte>> kept_;
};

TEST_P(KeyLayoutTest, AllCombinationsAgree) {
  for (const RopePairing model :
       {RopePairing::kHalves, RopePairing::kAdjacent}) {
    for (const RopePairing adapter :
         {RopePairing::kHalves, RopePairing::kAdjacent}) {
      Loaded loaded = Load(adapter);
      if (model == RopePairing::kAdjacent) PairNeighbours(loaded);
      EXPECT_LE(WorstOfReference(loaded), kReferenceTolerance);
      ExpectFastAgrees(loaded, cpu::BestIsa());
    }
  }
}

// Biases would have to be reordered too: cases without any.
std::vector<Case> CasesOfLlama() {
  std::vector<Case> cases = ReadCases();
  std::erase_if(cases, [](const Case& c) { return c.architecture != "llama"; });
  return cases;
}
INSTANTIATE_TEST_SUITE_P(All, KeyLayoutTest, testing::ValuesIn(CasesOfLlama()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace braid::parscale
