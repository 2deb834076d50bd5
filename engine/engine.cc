#include "engine/engine.h"

#include <utility>

#include "base/status_macros.h"
#include "engine/engine_loop.h"

namespace braid {

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(EngineConfig config) {
  const Clock* clock = config.clock;
  BRAID_ASSIGN_OR_RETURN(auto loop, EngineLoop::Create(std::move(config)));
  return std::unique_ptr<Engine>(new Engine(std::move(loop), clock));
}

Engine::Engine(std::unique_ptr<EngineLoop> loop, const Clock* clock)
    : loop_(std::move(loop)), clock_(clock), thread_([this] { Run(); }) {}

Engine::~Engine() { Stop(); }

void Engine::Stop() {
  if (!thread_.joinable()) return;
  stop_ = true;
  loop_->Wake();
  thread_.join();
}

void Engine::Run() {
  while (!stop_) {
    const TimePoint now = clock_->Now();
    if (!loop_->RunOnce(now)) loop_->Wait(now);
  }
  loop_->Stop(clock_->Now());
  while (!loop_->at_rest()) {
    const TimePoint now = clock_->Now();
    if (!loop_->RunOnce(now)) loop_->Wait(now);
  }
}

absl::StatusOr<RequestId> Engine::Submit(GenerateRequest request,
                                         std::shared_ptr<TokenSink> sink) {
  return loop_->Submit(std::move(request), std::move(sink));
}

void Engine::Cancel(RequestId id) { loop_->Cancel(id); }

bool Engine::Drain(Duration timeout) { return loop_->Drain(timeout); }

const std::vector<ServiceClass>& Engine::classes() const {
  return loop_->classes();
}

EngineStats Engine::Snapshot() const { return loop_->Snapshot(); }

DecisionPage Engine::Decisions(uint64_t since, size_t limit) const {
  return loop_->Decisions(since, limit);
}

}  // namespace braid
