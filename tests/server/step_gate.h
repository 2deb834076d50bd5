// Steps that end when the test says so, on an engine with all of its threads.
//
// Thread safety: StepGate's methods are thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "tests/support/fake_runner.h"

namespace braid {

// Open at first.
class StepGate {
 public:
  void Close();
  void Open();
  // Lets `steps` more through a closed gate.
  void Pass(int64_t steps);
  // The next step that gets through fails.
  void FailNext(absl::Status status);

  // Until a step may end; how it is to end.
  absl::Status Enter();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;  // guarded by mutex_, as is what follows
  int64_t passes_ = 0;
  absl::Status next_;
};

// A FakeRunner turned by hand, with a thread as its hand.
class GatedRunner final : public ModelRunner {
 public:
  // `runner` is without a thread; `gate` is open when this is destroyed.
  // `on_step`, if there is one, is called before a step ends.
  GatedRunner(std::unique_ptr<ModelRunner> owner, FakeRunner* runner,
              std::shared_ptr<StepGate> gate,
              std::function<void()> on_step = nullptr);
  ~GatedRunner() override;

  const KvLayout& kv_layout() const override { return runner_->kv_layout(); }
  uint32_t max_rows() const override { return runner_->max_rows(); }
  void Launch(const ForwardBatch& batch, StepCallbacks callbacks) override;

 private:
  void Run();

  const std::unique_ptr<ModelRunner> owner_;
  FakeRunner* const runner_;  // is *owner_
  const std::shared_ptr<StepGate> gate_;
  const std::function<void()> on_step_;
  std::mutex mutex_;
  std::condition_variable launched_;
  const ForwardBatch* batch_ =
      nullptr;  // guarded by mutex_, as is what follows
  StepCallbacks callbacks_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace braid
