#include "tests/server/step_gate.h"

#include <utility>

#include "base/check.h"

namespace braid {

void StepGate::Close() {
  std::lock_guard lock(mutex_);
  open_ = false;
  passes_ = 0;
}

void StepGate::Open() {
  std::lock_guard lock(mutex_);
  open_ = true;
  changed_.notify_all();
}

void StepGate::Pass(int64_t steps) {
  std::lock_guard lock(mutex_);
  passes_ += steps;
  changed_.notify_all();
}

void StepGate::FailNext(absl::Status status) {
  std::lock_guard lock(mutex_);
  next_ = std::move(status);
}

absl::Status StepGate::Enter() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return open_ || passes_ > 0; });
  if (!open_) --passes_;
  return std::exchange(next_, absl::OkStatus());
}

GatedRunner::GatedRunner(std::unique_ptr<ModelRunner> owner, FakeRunner* runner,
                         std::shared_ptr<StepGate> gate,
                         std::function<void()> on_step)
    : owner_(std::move(owner)),
      runner_(runner),
      gate_(std::move(gate)),
      on_step_(std::move(on_step)),
      thread_([this] { Run(); }) {}

GatedRunner::~GatedRunner() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  launched_.notify_one();
  thread_.join();
}

void GatedRunner::Launch(const ForwardBatch& batch, StepCallbacks callbacks) {
  std::lock_guard lock(mutex_);
  BRAID_CHECK(batch_ == nullptr);
  batch_ = &batch;
  callbacks_ = std::move(callbacks);
  launched_.notify_one();
}

void GatedRunner::Run() {
  while (true) {
    const ForwardBatch* batch = nullptr;
    StepCallbacks callbacks;
    {
      std::unique_lock lock(mutex_);
      launched_.wait(lock, [this] { return batch_ != nullptr || closing_; });
      if (batch_ == nullptr) return;
      batch = std::exchange(batch_, nullptr);
      callbacks = std::move(callbacks_);
    }
    absl::Status status = gate_->Enter();
    if (on_step_) on_step_();
    runner_->Launch(*batch, std::move(callbacks));
    runner_->Finish(std::move(status));
  }
}

}  // namespace braid
