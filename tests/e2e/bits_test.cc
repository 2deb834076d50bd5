// Section 7 of the design on the real thing: the default model on CPU cores
// behind the real engine. Tokens, text and logprobs are equal bit for bit with
// split on, off and auto, under either transport, at any chunk size, alone and
// in a crowd of 16, with and without prefix hits, on one core and on two.
#include <cmath>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "cpu/cpu_runner.h"
#include "engine/engine.h"
#include "kvcache/transport/copy_transport.h"
#include "kvcache/transport/loopback_transport.h"
#include "model/model_file.h"

namespace braid {
namespace {

std::string DefaultModel() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string root = cache != nullptr && *cache != '\0'
                               ? cache
                               : std::string(std::getenv("HOME")) + "/.cache";
  return root + "/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

// Loaded once for all tests of this process.
struct Model {
  std::unique_ptr<ModelFile> file;
  std::unique_ptr<Tokenizer> tokenizer;
  std::shared_ptr<const cpu::CpuModel> packed;

  static const Model& Get() {
    static const Model* model = [] {
      auto file = ModelFile::Open(DefaultModel());
      if (!file.ok()) {
        ADD_FAILURE() << file.status() << "; run deploy/fetch_model.sh";
        std::exit(1);
      }
      auto* loaded = new Model;
      loaded->file = *std::move(file);
      loaded->tokenizer = *Tokenizer::Create(loaded->file->tokenizer());
      loaded->packed = *cpu::CpuModel::Load(*loaded->file, cpu::BestIsa(), 2);
      return loaded;
    }();
    return *model;
  }
};

struct Answer {
  std::vector<SampledToken> scores;
  std::vector<SampledToken> tokens;
  std::string text;
  Outcome outcome;
};

class Collector final : public TokenSink {
 public:
  void OnPromptScores(std::vector<SampledToken> scores) override {
    answer_.scores = std::move(scores);
  }
  bool OnTokens(TokenDelta delta) override {
    for (SampledToken& token : delta.tokens) {
      answer_.tokens.push_back(std::move(token));
    }
    answer_.text += delta.text;
    return true;
  }
  void OnFinish(Outcome outcome) override {
    answer_.outcome = std::move(outcome);
    done_.set_value(std::move(answer_));
  }
  std::future<Answer> Done() { return done_.get_future(); }

 private:
  Answer answer_;
  std::promise<Answer> done_;
};

struct Setting {
  SplitMode split = SplitMode::kOff;
  bool copy = false;
  uint32_t chunk = 256;
  int cores = 2;
  bool prefix_cache = false;
  bool lend = true;
};

std::unique_ptr<Engine> MakeEngine(const Setting& setting, const Clock& clock) {
  const Model& model = Model::Get();
  constexpr uint32_t kBlocks = 800;
  EngineConfig config;
  const KvLayout layout = model.packed->MakeKvLayout(16);
  const bool two_devices = setting.split != SplitMode::kOff;
  const int arenas = setting.copy ? 2 : 1;
  for (int i = 0; i < arenas; ++i) {
    config.arenas.push_back(*KvArena::Create(layout, kBlocks));
  }
  std::vector<cpu::CpuDeviceSpec> specs;
  if (two_devices) {
    for (uint32_t i = 0; i < 2; ++i) {
      specs.push_back({DeviceId(i),
                       {static_cast<int>(i)},
                       config.arenas[setting.copy ? i : 0].get()});
    }
  } else {
    specs.push_back({DeviceId(0), {}, config.arenas[0].get()});
    for (int core = 0; core < setting.cores; ++core) {
      specs[0].cores.push_back(core);
    }
  }
  // Threads are not pinned: the test machine may have fewer processors.
  auto runners = *cpu::MakeCpuRunners(
      model.packed, specs,
      {.max_rows = 512, .max_context = 2048, .pin_threads = false});
  for (size_t i = 0; i < runners.size(); ++i) {
    config.devices.push_back(
        {.id = specs[i].id,
         .name = "cpu:" + std::to_string(i),
         .role = !two_devices ? DeviceRole::kBoth
                 : i == 0     ? DeviceRole::kPrefill
                              : DeviceRole::kDecode,
         .runner = std::move(runners[i]),
         .arena = setting.copy ? static_cast<uint32_t>(i) : 0});
  }
  config.make_transport =
      [copy = setting.copy](
          std::function<void()> wake) -> std::unique_ptr<KvTransport> {
    if (copy) {
      CopyTransportOptions options;
      options.common.wake = std::move(wake);
      return std::make_unique<CopyTransport>(std::move(options));
    }
    return std::make_unique<LoopbackTransport>(
        TransportOptions{.wake = std::move(wake)});
  };
  config.tokenizer = model.tokenizer.get();
  config.clock = &clock;
  config.split = setting.split;
  config.max_context = 2048;
  config.prefill_chunk = setting.chunk;
  config.lend_cores = setting.lend;
  config.prefix_cache = setting.prefix_cache;
  auto engine = Engine::Create(std::move(config));
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

// 16 prompts of 2 to 300 tokens, half of them with a common beginning; greedy
// and sampled, with alternatives, penalties and scored prompts among them.
std::vector<GenerateRequest> Requests() {
  const int32_t vocabulary = Model::Get().tokenizer->vocabulary();
  std::vector<TokenId> common(150);
  Rng rng(11);
  for (TokenId& token : common) {
    token = static_cast<TokenId>(100 + rng.Below(vocabulary - 100));
  }
  std::vector<GenerateRequest> requests(16);
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerateRequest& request = requests[i];
    if (i % 2 == 0) request.prompt = common;
    for (uint64_t n = 2 + rng.Below(150); n > 0; --n) {
      request.prompt.push_back(
          static_cast<TokenId>(100 + rng.Below(vocabulary - 100)));
    }
    request.max_tokens = 6 + static_cast<uint32_t>(rng.Below(12));
    request.sampling.temperature = i % 3 == 0 ? 0.0f : 0.9f;
    request.sampling.top_p = i % 3 == 1 ? 0.9f : 1.0f;
    request.sampling.repetition_penalty = i % 4 == 1 ? 1.1f : 1.0f;
    request.sampling.seed = i;
    request.sampling.top_logprobs = 2;
    request.sampling.ignore_eos = true;
    if (i % 5 == 0) request.prompt_logprobs = 1;
  }
  return requests;
}

std::vector<Answer> RunAll(Engine& engine, bool crowd, size_t requests = 16) {
  std::vector<Answer> answers;
  std::vector<std::future<Answer>> pending;
  for (GenerateRequest& request : Requests()) {
    if (pending.size() == requests) break;
    auto sink = std::make_shared<Collector>();
    pending.push_back(sink->Done());
    const auto id = engine.Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    if (!crowd) answers.push_back(pending.back().get());
  }
  if (crowd) {
    for (auto& answer : pending) answers.push_back(answer.get());
  }
  return answers;
}

// The measure of all: one core, one device, whole prompts, alone.
const std::vector<Answer>& Baseline() {
  static const std::vector<Answer>* answers = [] {
    SystemClock clock;
    auto engine = MakeEngine({.chunk = 512, .cores = 1}, clock);
    return new std::vector<Answer>(RunAll(*engine, /*crowd=*/false));
  }();
  return *answers;
}

// Empty when equal, as far as `b` goes; else where the first difference is.
// float == float: bits.
std::string Difference(const std::vector<Answer>& a,
                       const std::vector<Answer>& b) {
  for (size_t i = 0; i < b.size(); ++i) {
    const std::string which = "request " + std::to_string(i) + ": ";
    if (!b[i].outcome.status.ok())
      return which + b[i].outcome.status.ToString();
    if (a[i].tokens != b[i].tokens) return which + "tokens or logprobs";
    if (a[i].text != b[i].text) return which + "text";
    if (a[i].scores != b[i].scores) return which + "scores of the prompt";
  }
  return "";
}

void ExpectBaseline(const Setting& setting, bool crowd) {
  SystemClock clock;
  auto engine = MakeEngine(setting, clock);
  EXPECT_EQ(Difference(Baseline(), RunAll(*engine, crowd)), "");
}

TEST(BitsTest, TheBaselineIsWorthComparingWith) {
  size_t tokens = 0;
  for (const Answer& answer : Baseline()) {
    ASSERT_TRUE(answer.outcome.status.ok()) << answer.outcome.status;
    EXPECT_EQ(answer.outcome.output_tokens, answer.tokens.size());
    for (const SampledToken& token : answer.tokens) {
      EXPECT_LT(token.logprob, 0.0f);
      EXPECT_EQ(token.top.size(), 2u);
    }
    tokens += answer.tokens.size();
  }
  EXPECT_GT(tokens, 100u);
  // A difference of one bit is seen.
  std::vector<Answer> changed = Baseline();
  float& logprob = changed[7].tokens[3].logprob;
  logprob = std::nextafterf(logprob, 0.0f);
  EXPECT_EQ(Difference(Baseline(), changed), "request 7: tokens or logprobs");
}

TEST(BitsTest, TwoCores) { ExpectBaseline({.chunk = 512}, false); }

TEST(BitsTest, ACrowd) { ExpectBaseline({}, true); }

TEST(BitsTest, SmallChunksOfAnySize) {
  ExpectBaseline({.chunk = 17}, true);
  // A step per token of every prompt: three requests will do.
  SystemClock clock;
  auto engine = MakeEngine({.chunk = 1}, clock);
  EXPECT_EQ(Difference(Baseline(), RunAll(*engine, true, 3)), "");
}

TEST(BitsTest, SplitOnLoopback) {
  ExpectBaseline({.split = SplitMode::kOn}, false);
  ExpectBaseline({.split = SplitMode::kOn, .chunk = 33}, true);
}

TEST(BitsTest, SplitOnLoopbackWithoutLending) {
  ExpectBaseline({.split = SplitMode::kOn, .lend = false}, true);
}

TEST(BitsTest, SplitOnCopy) {
  ExpectBaseline({.split = SplitMode::kOn, .copy = true}, false);
  ExpectBaseline({.split = SplitMode::kOn, .copy = true, .chunk = 48}, true);
}

TEST(BitsTest, SplitAuto) {
  ExpectBaseline({.split = SplitMode::kAuto}, true);
  ExpectBaseline({.split = SplitMode::kAuto, .copy = true}, true);
}

TEST(BitsTest, PrefixHits) {
  for (const bool copy : {false, true}) {
    SystemClock clock;
    auto engine = MakeEngine(
        {.split = SplitMode::kOn, .copy = copy, .prefix_cache = true}, clock);
    EXPECT_EQ(Difference(Baseline(), RunAll(*engine, true)), "");
    const std::vector<Answer> again = RunAll(*engine, true);
    EXPECT_EQ(Difference(Baseline(), again), "");
    uint32_t cached = 0;
    for (const Answer& answer : again) cached += answer.outcome.cached_tokens;
    EXPECT_GT(cached, 1000u) << "the second round should have hit";
  }
}

}  // namespace
}  // namespace braid
