// An engine on fake runners, turned by hand: what every test of engine/ needs.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/engine_loop.h"
#include "gtest/gtest.h"
#include "tests/support/fake_runner.h"
#include "tests/support/hand_transport.h"

namespace braid {

// A space, letters and pairs of letters; the last token ends a generation.
const Tokenizer& FakeTokenizer();

// Time stands still until it is moved.
class HandClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(Duration(now_.load())); }
  void Move(Duration d) { now_ += d.count(); }

 private:
  std::atomic<int64_t> now_ = 1'000'000'000;
};

// Records a request's end and everything before it; fails the test when the
// order is not that of TokenSink.
class RecordingSink final : public TokenSink {
 public:
  // After that many tokens it is too slow.
  explicit RecordingSink(size_t takes = ~size_t{0}) : takes_(takes) {}

  void OnPromptScores(std::vector<SampledToken> scores) override;
  bool OnTokens(const TokenDelta& delta) override;
  void OnFinish(Outcome outcome) override;

  bool finished() const { return outcome.has_value(); }
  std::vector<TokenId> ids() const;

  std::vector<SampledToken> tokens;
  std::vector<uint32_t> streams;  // by token
  std::string text;
  std::optional<std::vector<SampledToken>> scores;
  std::optional<Outcome> outcome;

 private:
  const size_t takes_;
};

// What the engine must say to a request that nothing disturbs.
struct Expected {
  std::vector<TokenId> ids;  // as delivered
  std::string text;
  FinishReason reason = FinishReason::kLength;
  std::string matched_stop;
  uint32_t output_tokens = 0;
};
// Token i is drawn by streams[i] of the first stream set, or by one behind
// their end.
Expected ExpectedOf(const GenerateRequest& request, uint32_t max_context,
                    std::span<const uint32_t> streams = {},
                    bool elastic = true);

struct HarnessOptions {
  SplitMode split = SplitMode::kOn;
  int devices = 2;         // 1: both phases; else prefill 0, decode 1, ...
  bool two_pools = false;  // the decode devices have their own memory
  uint32_t blocks = 64;    // of each pool
  uint32_t block_tokens = 16;
  uint32_t chunk = 32;
  uint32_t max_context = 256;
  uint32_t max_running = 32;
  uint32_t max_queued = 64;  // of each class
  uint32_t max_inbox = 64;
  // Empty: one, whose targets nobody misses.
  std::vector<ServiceClass> classes;
  uint32_t max_rows = 64;
  uint32_t progress_layers = 1;
  bool lend_cores = true;
  bool prefix_cache = true;
  std::vector<StreamSet> stream_sets;
};

// Devices, pools and a HandTransport; runners by hand.
class Harness {
 public:
  explicit Harness(HarnessOptions options);
  ~Harness();

  const HarnessOptions& options() const { return options_; }
  EngineLoop& loop() { return *loop_; }
  HandClock& clock() { return clock_; }
  HandTransport& transport() { return *transport_; }
  FakeRunner& runner(size_t device) { return *runners_[device]; }

  std::shared_ptr<RecordingSink> Submit(const GenerateRequest& request,
                                        RequestId* id = nullptr,
                                        size_t sink_takes = ~size_t{0});
  // Turns until nothing happens any more; checks the books after each.
  void Turn();
  // Finishes device steps and transfers, in order, until all is at rest.
  void RunToRest();
  // Some of what could happen next, happens.
  void Act(Rng& rng, double transfer_failures = 0, double step_failures = 0,
           double device_losses = 0);
  // free + cached == capacity, in every pool.
  void ExpectNothingHeld() const;
  uint32_t Count(uint32_t pool, BlockState state) const;

 private:
  const HarnessOptions options_;
  HandClock clock_;
  HandTransport* transport_ = nullptr;  // of loop_
  std::vector<FakeRunner*> runners_;    // of loop_
  std::unique_ptr<EngineLoop> loop_;
};

// The parts of an EngineConfig that are the same for all tests.
EngineConfig FakeEngineConfig(const HarnessOptions& options, const Clock* clock,
                              bool threads, std::vector<FakeRunner*>* runners);

// Elastic streams, up to four, of which each gains something.
StreamSet NestedSet();

// A prompt of `size` tokens of the text number `text`: prompts of one text
// begin alike.
std::vector<TokenId> FakePrompt(uint32_t text, uint32_t size);

}  // namespace braid
