// The engine with all of its threads: its own, the runners', a transport's, and
// several clients'. What ThreadSanitizer looks at.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/engine.h"
#include "kvcache/transport/copy_transport.h"
#include "kvcache/transport/loopback_transport.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/faulty_kv_transport.h"

namespace braid {
namespace {

class WaitingSink final : public TokenSink {
 public:
  void OnPromptScores(std::vector<SampledToken>) override {}
  bool OnTokens(const TokenDelta& delta) override {
    std::lock_guard lock(mutex_);
    text_ += delta.text;
    ++deltas_;
    changed_.notify_all();
    return true;
  }
  void OnFinish(Outcome outcome) override {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(outcome_.has_value());
    outcome_ = std::move(outcome);
    changed_.notify_all();
  }

  Outcome Wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60),
                                  [&] { return outcome_.has_value(); }));
    return outcome_.value_or(Outcome{});
  }
  void WaitForText() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(60),
                      [&] { return deltas_ > 0 || outcome_.has_value(); });
  }
  std::string text() {
    std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  int deltas_ = 0;
  std::optional<Outcome> outcome_;
};

enum class Kind { kLoopback, kCopy, kCopyWithFaults };

class EngineThreadsTest : public testing::TestWithParam<Kind> {
 protected:
  EngineThreadsTest() {
    HarnessOptions options{.split = SplitMode::kAuto,
                           .two_pools = GetParam() != Kind::kLoopback,
                           .blocks = 80,
                           .chunk = 24};
    std::vector<FakeRunner*> runners;
    EngineConfig config =
        FakeEngineConfig(options, &clock_, /*threads=*/true, &runners);
    config.make_transport =
        [](std::function<void()> wake) -> std::unique_ptr<KvTransport> {
      if (GetParam() == Kind::kLoopback) {
        return std::make_unique<LoopbackTransport>(
            TransportOptions{.wake = std::move(wake)});
      }
      auto copy = std::make_unique<CopyTransport>(
          CopyTransportOptions{.common = {.wake = wake}});
      if (GetParam() == Kind::kCopy) return copy;
      return std::make_unique<FaultyKvTransport>(
          std::move(copy),
          TransportFaults{.fail_open_every = 3,
                          .max_delay_polls = 3,
                          .repeat_probability = 0.2},
          std::move(wake));
    };
    auto engine = Engine::Create(std::move(config));
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  static GenerateRequest Request(uint64_t seed) {
    Rng rng(seed);
    GenerateRequest request{
        .prompt = FakePrompt(static_cast<uint32_t>(rng.Below(3)),
                             1 + static_cast<uint32_t>(rng.Below(120))),
        .max_tokens = 1 + static_cast<uint32_t>(rng.Below(30))};
    request.sampling.ignore_eos = rng.Below(2) == 0;
    return request;
  }

  SystemClock clock_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(EngineThreadsTest, ManyClients) {
  std::vector<std::thread> clients;
  for (uint64_t client = 0; client < 4; ++client) {
    clients.emplace_back([this, client] {
      Rng rng(client);
      for (int i = 0; i < 12; ++i) {
        const GenerateRequest request = Request(rng());
        auto sink = std::make_shared<WaitingSink>();
        const auto id = engine_->Submit(request, sink);
        ASSERT_TRUE(id.ok()) << id.status();
        const bool cancel = rng.Below(4) == 0;
        if (cancel) {
          if (rng.Below(2) == 0) sink->WaitForText();
          engine_->Cancel(*id);
        }
        const Outcome outcome = sink->Wait();
        const Expected expected = ExpectedOf(request, 256);
        if (outcome.reason != FinishReason::kCancelled) {
          EXPECT_EQ(outcome.reason, expected.reason) << outcome.status;
          EXPECT_EQ(sink->text(), expected.text);
        } else {
          EXPECT_TRUE(cancel);
          EXPECT_TRUE(expected.text.starts_with(sink->text()));
        }
        engine_->Snapshot();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(engine_->Drain(std::chrono::seconds(60)));
  EXPECT_EQ(engine_->Submit(Request(1), std::make_shared<WaitingSink>())
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

TEST_P(EngineThreadsTest, IdleAfterWork) {
  auto sink = std::make_shared<WaitingSink>();
  ASSERT_TRUE(engine_->Submit(Request(5), sink).ok());
  sink->Wait();
  ASSERT_TRUE(engine_->Drain(std::chrono::seconds(60)));
  // Statistics of the last turn are published before the loop falls asleep;
  // that may be a moment after the drain.
  const auto held = [&] {
    uint32_t held = 0;
    for (const auto& pool : engine_->Snapshot().kv_blocks) {
      for (int state = 0; state < kBlockStateCount; ++state) {
        if (state != static_cast<int>(BlockState::kFree) &&
            state != static_cast<int>(BlockState::kCached)) {
          held += pool[static_cast<size_t>(state)];
        }
      }
    }
    return held;
  };
  const TimePoint give_up = clock_.Now() + std::chrono::seconds(30);
  while (held() > 0 && clock_.Now() < give_up) std::this_thread::yield();
  EXPECT_EQ(held(), 0u);
}

TEST_P(EngineThreadsTest, DestructionEndsWhatRuns) {
  std::vector<std::shared_ptr<WaitingSink>> sinks;
  for (uint64_t i = 0; i < 30; ++i) {
    sinks.push_back(std::make_shared<WaitingSink>());
    ASSERT_TRUE(engine_->Submit(Request(i), sinks.back()).ok());
  }
  sinks[0]->WaitForText();
  engine_.reset();
  for (const auto& sink : sinks) {
    const Outcome outcome = sink->Wait();
    EXPECT_TRUE(outcome.reason != FinishReason::kFailed ||
                outcome.status.code() == absl::StatusCode::kUnavailable);
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, EngineThreadsTest,
                         testing::Values(Kind::kLoopback, Kind::kCopy,
                                         Kind::kCopyWithFaults),
                         [](const auto& param) -> std::string {
                           switch (param.param) {
                             case Kind::kLoopback:
                               return "Loopback";
                             case Kind::kCopy:
                               return "Copy";
                             case Kind::kCopyWithFaults:
                               return "CopyWithFaults";
                           }
                           return "?";
                         });

}  // namespace
}  // namespace braid
