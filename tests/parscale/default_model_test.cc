// The default model with streams, from its GGUF file, against transformers
// (make_default_golden.py): those of a formula, and those of every adapter that
// is shipped. Its q and k rows pair neighbours and the adapters' keys do not,
// so this is where a mixed-up layout would show.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <unistd.h>

#include "cpu/reference.h"
#include "gtest/gtest.h"
#include "model/model_file.h"
#include "model/parscale.h"
#include "model/sha256.h"
#include "tests/cpu/golden/default_golden.h"
#include "tests/cpu/tiny_streams.h"
#include "tests/parscale/generated_model.h"

namespace braid::parscale {
namespace {

// The same in make_default_golden.py.
const Case kDefault = {.name = "default",
                       .nested = true,
                       .streams = 4,
                       .prefix_tokens = 16,
                       .smoothing = 0.1,
                       .dtype = DType::kBF16,
                       .hidden = 576,
                       .kv_heads = 3,
                       .head_dim = 64,
                       .layers = 30,
                       .prefix_spread = 0.25};

// What is known of a text with p streams, by token.
struct TextScores {
  std::vector<float> next_logprobs;
  std::vector<TokenId> best;
};

std::vector<TextScores> ReadRuns(const std::string& name) {
  golden::Cursor in(std::string(BRAID_SOURCE_DIR) + "/tests/parscale/golden/" +
                    name);
  std::vector<TextScores> runs(in.Take<uint32_t>());
  const auto tokens = in.Take<uint32_t>();
  for (TextScores& run : runs) {
    run.next_logprobs = in.Take<float>(tokens);
    run.best = in.Take<TokenId>(tokens);
  }
  BRAID_CHECK(in.AtEnd());
  return runs;
}

struct Distance {
  double mean = 0, worst = 0;
  size_t best_equal = 0;
};
Distance Between(const TextScores& a, const TextScores& b) {
  Distance distance;
  const size_t count = a.next_logprobs.size();
  for (size_t i = 0; i < count; ++i) {
    const double error = std::abs(a.next_logprobs[i] - b.next_logprobs[i]);
    distance.mean += error / static_cast<double>(count);
    distance.worst = std::max(distance.worst, error);
    distance.best_equal += a.best[i] == b.best[i];
  }
  return distance;
}

constexpr char kGenerated[] = "default_generated";

std::string AdapterFolder() {
  return std::string(BRAID_SOURCE_DIR) + "/model/adapters/";
}

// The generated one, and those of the folder: each has a golden file.
std::vector<std::string> Adapters() {
  std::vector<std::string> names = {kGenerated};
  for (const auto& entry :
       std::filesystem::directory_iterator(AdapterFolder())) {
    if (entry.path().extension() == ".safetensors") {
      names.push_back(entry.path().stem().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

class DefaultModelStreamsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string path = golden::DefaultModelPath();
    auto file = ModelFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status()
                           << "\ntests/run.sh fetches the model";
    file_ = *std::move(file);
    std::string adapter = AdapterFolder() + GetParam() + ".safetensors";
    if (GetParam() == kGenerated) {
      adapter = testing::TempDir() + "default_adapter_" +
                std::to_string(getpid()) + ".safetensors";
      const std::vector<std::string> files = {path};
      MakeAdapter(kDefault, *Sha256OfFiles(files)).Write(adapter);
    }
    auto set = LoadParscaleAdapter(adapter, path, file_->config());
    ASSERT_TRUE(set.ok()) << set.status();
    set_ = *std::move(set);
    tokens_ = golden::ReadDefaultGolden().tokens;
    tokens_.resize(runs_[0].best.size() + 1);
  }

  TextScores Reference(int32_t p) const {
    const size_t count = tokens_.size() - 1;
    const std::vector<float> logits =
        reference::Forward(file_->config(), file_->weights(), set_, p,
                           std::span(tokens_).first(count));
    const size_t vocabulary = logits.size() / count;
    TextScores run;
    for (size_t t = 0; t < count; ++t) {
      const auto row = std::span(logits).subspan(t * vocabulary, vocabulary);
      const auto best = std::ranges::max_element(row);
      double sum = 0;
      for (const float x : row) sum += std::exp(double{x} - *best);
      run.best.push_back(static_cast<TokenId>(best - row.begin()));
      run.next_logprobs.push_back(static_cast<float>(
          row[static_cast<size_t>(tokens_[t + 1])] - *best - std::log(sum)));
    }
    return run;
  }

  TextScores Fast(cpu::RunnerDriver& driver, int32_t p) const {
    cpu::Gang gang(1, static_cast<size_t>(p), tokens_);
    ForwardBatch batch;
    const auto count = static_cast<uint32_t>(tokens_.size() - 1);
    cpu::AddGang(driver, gang, static_cast<size_t>(p), count, batch);
    cpu::ScoreRows(gang, 1, batch.sequences[0]);
    const ForwardResult result = driver.Step(batch);
    TextScores run;
    for (const SampledToken& score : result.sequences[0].scores) {
      run.next_logprobs.push_back(score.logprob);
      run.best.push_back(score.top.at(0).token);
    }
    return run;
  }

  const std::vector<TextScores> runs_ = ReadRuns(GetParam() + ".bin");
  std::unique_ptr<ModelFile> file_;
  ParscaleSet set_;
  std::vector<TokenId> tokens_;
};

TEST_P(DefaultModelStreamsTest, TheReferenceAgrees) {
  // It takes its time: all streams, half of the text.
  tokens_.resize(tokens_.size() / 2);
  TextScores golden = runs_.back();
  golden.next_logprobs.resize(tokens_.size() - 1);
  golden.best.resize(tokens_.size() - 1);
  const Distance distance = Between(Reference(set_.streams), golden);
  EXPECT_LE(distance.worst, 1e-4);
  EXPECT_EQ(distance.best_equal, golden.best.size());
  RecordProperty("worst", std::to_string(distance.worst));
}

// Rounding to int8 costs the plain model as much.
TEST_P(DefaultModelStreamsTest, TheFastKernelsStayClose) {
  const auto model = cpu::CpuModel::Load(*file_, cpu::BestIsa(), 2, {&set_, 1});
  ASSERT_TRUE(model.ok()) << model.status();
  cpu::RunnerDriver driver(*model, {});
  for (int32_t p = 1; p <= set_.streams; ++p) {
    const Distance distance =
        Between(Fast(driver, p), runs_[static_cast<size_t>(p) - 1]);
    EXPECT_LE(distance.mean, 0.15) << "p=" << p;
    EXPECT_GE(distance.best_equal, (tokens_.size() - 1) * 4 / 5) << "p=" << p;
    RecordProperty("mean_p" + std::to_string(p), std::to_string(distance.mean));
    RecordProperty("best_p" + std::to_string(p),
                   static_cast<int>(distance.best_equal));
  }
}

INSTANTIATE_TEST_SUITE_P(All, DefaultModelStreamsTest,
                         testing::ValuesIn(Adapters()), [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace_if(
                               name, [](char c) { return !isalnum(c); }, '_');
                           return name;
                         });

}  // namespace
}  // namespace braid::parscale
