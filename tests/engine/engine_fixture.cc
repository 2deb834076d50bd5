#include "tests/engine/engine_fixture.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "base/check.h"
#include "base/hash.h"

namespace braid {
namespace {

// What the tokens stand for; the first is a space (in GPT-2's spelling, without
// which there is no byte-level vocabulary), the last is the end.
std::vector<std::string> FakeWords() {
  std::vector<std::string> words = {"\u0120"};
  for (char c = 'a'; c <= 'h'; ++c) words.emplace_back(1, c);
  for (char c = 'a'; c <= 'h'; ++c) {
    for (char d = 'a'; d <= 'c'; ++d) words.push_back({c, d});
  }
  words.push_back("<end>");
  return words;
}

}  // namespace

const Tokenizer& FakeTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    TokenizerSpec spec;
    spec.tokens = FakeWords();
    spec.kinds.assign(spec.tokens.size(), TokenKind::kNormal);
    spec.kinds.back() = TokenKind::kControl;
    spec.end_of_generation = {static_cast<TokenId>(spec.tokens.size()) - 1};
    auto created = Tokenizer::Create(std::move(spec));
    BRAID_CHECK_MSG(created.ok(), created.status().ToString());
    return created->release();
  }();
  return *tokenizer;
}

void RecordingSink::OnPromptScores(std::vector<SampledToken> s) {
  EXPECT_FALSE(finished());
  EXPECT_TRUE(tokens.empty());
  EXPECT_FALSE(scores.has_value());
  scores = std::move(s);
}

bool RecordingSink::OnTokens(const TokenDelta& delta) {
  EXPECT_FALSE(finished());
  tokens.insert(tokens.end(), delta.tokens.begin(), delta.tokens.end());
  EXPECT_EQ(delta.streams.size(), delta.tokens.size());
  streams.insert(streams.end(), delta.streams.begin(), delta.streams.end());
  text += delta.text;
  return tokens.size() <= takes_;
}

void RecordingSink::OnFinish(Outcome o) {
  EXPECT_FALSE(finished()) << "finished twice";
  const StageTimes& t = o.times;
  Duration sum{};
  for (Duration stage : t.spent) {
    EXPECT_GE(stage.count(), 0);
    sum += stage;
  }
  EXPECT_EQ(sum, t.finished - t.received);
  EXPECT_LE(t.received, t.first_token);
  EXPECT_LE(t.first_token, t.finished);
  outcome = std::move(o);
}

std::vector<TokenId> RecordingSink::ids() const {
  std::vector<TokenId> ids;
  for (const SampledToken& token : tokens) ids.push_back(token.token);
  return ids;
}

Expected ExpectedOf(const GenerateRequest& request, uint32_t max_context,
                    std::span<const uint32_t> streams, bool elastic) {
  const std::vector<std::string> words = FakeWords();
  const auto end = static_cast<TokenId>(words.size()) - 1;
  const uint32_t most = std::min<uint32_t>(
      request.max_tokens,
      max_context - static_cast<uint32_t>(request.prompt.size()));
  Expected expected;
  std::vector<TokenId> output;
  std::string watched;  // Text before min_tokens is no part of a stop string.
  while (output.size() < most) {
    const size_t i = output.size();
    FakeGang gang;
    if (i < streams.size()) gang = {streams[i], 1, elastic};
    const TokenId token =
        FakeRunner::Next(request.prompt, output, request.sampling,
                         std::span(&end, 1), static_cast<int32_t>(words.size()),
                         gang)
            .token;
    output.push_back(token);
    expected.output_tokens = static_cast<uint32_t>(output.size());
    if (token == end && !request.sampling.ignore_eos) {
      expected.reason = FinishReason::kStop;
      return expected;
    }
    expected.ids.push_back(token);
    if (token == end) continue;  // Shows nothing.
    // One character after the other: which stop string is complete first?
    const std::string word =
        token == 0 ? " " : words[static_cast<size_t>(token)];
    for (char c : word) {
      expected.text += c;
      if (static_cast<int64_t>(output.size()) < request.sampling.min_tokens) {
        continue;
      }
      watched += c;
      for (const std::string& stop : request.stop) {
        if (absl::EndsWith(watched, stop) &&
            stop.size() > expected.matched_stop.size()) {
          expected.matched_stop = stop;
        }
      }
      if (!expected.matched_stop.empty()) break;
    }
    if (expected.matched_stop.empty()) continue;
    if (!request.include_stop_in_text) {
      expected.text.resize(expected.text.size() - expected.matched_stop.size());
    }
    expected.reason = FinishReason::kStop;
    return expected;
  }
  return expected;
}

EngineConfig FakeEngineConfig(const HarnessOptions& options, const Clock* clock,
                              bool threads, std::vector<FakeRunner*>* runners) {
  EngineConfig config;
  for (int pool = 0; pool < (options.two_pools ? 2 : 1); ++pool) {
    auto arena =
        KvArena::Create(FakeKvLayout(options.block_tokens), options.blocks);
    BRAID_CHECK(arena.ok());
    config.arenas.push_back(*std::move(arena));
  }
  auto cores = std::make_shared<FakeCores>();
  for (int i = 0; i < options.devices; ++i) {
    const uint32_t arena = options.two_pools && i > 0 ? 1 : 0;
    const DeviceId id(static_cast<uint32_t>(i));
    auto runner = std::make_unique<FakeRunner>(
        FakeRunnerOptions{.id = id,
                          .arena = config.arenas[arena].get(),
                          .cores = cores,
                          .max_rows = options.max_rows,
                          .vocabulary = FakeTokenizer().vocabulary(),
                          .thread = threads,
                          .stream_sets = options.stream_sets});
    runners->push_back(runner.get());
    config.devices.push_back({.id = id,
                              .name = "fake:" + std::to_string(i),
                              .role = options.devices == 1 ? DeviceRole::kBoth
                                      : i == 0 ? DeviceRole::kPrefill
                                               : DeviceRole::kDecode,
                              .runner = std::move(runner),
                              .arena = arena});
  }
  config.tokenizer = &FakeTokenizer();
  config.clock = clock;
  config.split = options.split;
  config.max_context = options.max_context;
  config.prefill_chunk = options.chunk;
  config.max_running = options.max_running;
  config.max_inbox = options.max_inbox;
  config.classes = options.classes;
  if (config.classes.empty()) {
    config.classes = {{.name = "only",
                       .ttft = std::chrono::hours(1),
                       .tpot = std::chrono::hours(1),
                       .max_queued = options.max_queued}};
  }
  config.progress_layers = options.progress_layers;
  config.lend_cores = options.lend_cores;
  config.prefix_cache = options.prefix_cache;
  config.stream_sets = options.stream_sets;
  return config;
}

Harness::Harness(HarnessOptions options) : options_(options) {
  EngineConfig config =
      FakeEngineConfig(options, &clock_, /*threads=*/false, &runners_);
  config.make_transport = [this](std::function<void()> wake) {
    auto transport = std::make_unique<HandTransport>(std::move(wake));
    transport_ = transport.get();
    return transport;
  };
  auto loop = EngineLoop::Create(std::move(config));
  BRAID_CHECK_MSG(loop.ok(), loop.status().ToString());
  loop_ = *std::move(loop);
}

Harness::~Harness() {
  loop_->Stop(clock_.Now());
  RunToRest();
  ExpectNothingHeld();
}

std::shared_ptr<RecordingSink> Harness::Submit(const GenerateRequest& request,
                                               RequestId* id,
                                               size_t sink_takes) {
  auto sink = std::make_shared<RecordingSink>(sink_takes);
  const auto submitted = loop_->Submit(request, sink);
  EXPECT_TRUE(submitted.ok()) << submitted.status();
  if (id != nullptr) *id = *submitted;
  return sink;
}

void Harness::Turn() {
  int turns = 0;
  while (loop_->RunOnce(clock_.Now())) {
    loop_->scheduler().CheckInvariants();
    BRAID_CHECK_MSG(++turns < 1000, "the loop does not come to rest");
  }
}

void Harness::RunToRest() {
  Rng rng(1);
  for (int i = 0; i < 100000; ++i) {
    Turn();
    bool moved = transport_->Step(rng);
    for (FakeRunner* runner : runners_) {
      if (!runner->running()) continue;
      runner->Finish();
      moved = true;
    }
    clock_.Move(std::chrono::milliseconds(1));
    if (!moved && loop_->at_rest()) return;
  }
  FAIL() << "not at rest after 100000 steps";
}

void Harness::Act(Rng& rng, double transfer_failures, double step_failures,
                  double device_losses) {
  for (FakeRunner* runner : runners_) {
    if (!runner->running() || rng.Below(2) == 0) continue;
    if (rng.Below(3) == 0) {
      runner->Advance(static_cast<uint32_t>(rng.Below(5)));
    } else if (rng.Uniform() < step_failures) {
      runner->Finish(absl::InternalError("failed by the test"));
    } else if (rng.Uniform() < device_losses) {
      runner->Finish(absl::UnavailableError("lost by the test"));
    } else {
      runner->Finish();
    }
  }
  for (uint64_t n = rng.Below(3); n > 0; --n) {
    transport_->Step(rng, transfer_failures);
  }
  clock_.Move(std::chrono::microseconds(rng.Below(3000)));
}

uint32_t Harness::Count(uint32_t pool, BlockState state) const {
  return loop_->scheduler().pool(PoolId(pool)).count(state);
}

void Harness::ExpectNothingHeld() const {
  for (uint32_t i = 0; i < loop_->scheduler().pool_count(); ++i) {
    EXPECT_EQ(Count(i, BlockState::kFree) + Count(i, BlockState::kCached),
              options_.blocks);
  }
}

StreamSet NestedSet() {
  return {.id = 1,
          .streams = 4,
          .elastic = true,
          .gain = {0, 0.1, 0.15, 0.18},
          .fingerprint = 9};
}

std::vector<TokenId> FakePrompt(uint32_t text, uint32_t size) {
  std::vector<TokenId> prompt;
  for (uint32_t i = 0; i < size; ++i) {
    const uint32_t key[2] = {text, i};
    prompt.push_back(static_cast<TokenId>(
        Hash64Of(std::span<const uint32_t>(key)) %
        static_cast<uint64_t>(FakeTokenizer().vocabulary() - 1)));
  }
  return prompt;
}

}  // namespace braid
