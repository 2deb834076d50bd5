#include "server/grpc/generate_reactor.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

// What a stalled reader may have waiting before it is given up.
constexpr size_t kMaxWaitingTokens = 4096;

}  // namespace

GenerateReactor* GenerateReactor::Start(
    grpc::CallbackServerContext& context, Engine* engine, WakeThread& wakes,
    ActiveCalls& calls, const v1::GenerateRequest& wire,
    absl::StatusOr<GenerateRequest> request) {
  std::shared_ptr<GenerateReactor> reactor(
      new GenerateReactor(context, engine, calls));
  reactor->self_ = reactor;
  if (!request.ok()) {
    reactor->finished_ = true;
    reactor->FinishWith(request.status());
    return reactor.get();
  }
  reactor->detail_ = DetailOf(wire, *request);
  std::weak_ptr<GenerateReactor> weak = reactor;
  reactor->outbox_ =
      std::make_shared<TokenOutbox>(kMaxWaitingTokens, [weak, &wakes] {
        wakes.Post([weak] {
          if (const auto strong = weak.lock()) strong->Advance();
        });
      });
  // Held while the id is not known yet: tokens may come before Submit returns.
  std::unique_lock lock(reactor->mutex_);
  absl::StatusOr<RequestId> id =
      engine->Submit(*std::move(request), reactor->outbox_);
  if (!id.ok()) {
    reactor->finished_ = true;
    lock.unlock();
    reactor->FinishWith(id.status());
    return reactor.get();
  }
  reactor->id_ = *id;
  lock.unlock();
  // An accepted call says so at once, however long its prompt is.
  reactor->StartSendInitialMetadata();
  return reactor.get();
}

void GenerateReactor::Advance() {
  std::unique_lock lock(mutex_);
  if (writing_ || finished_) return;
  TokenOutbox::Batch& batch = batch_;
  outbox_->Take(batch);
  if (batch.tokens.empty() && batch.text.empty() && !batch.outcome) return;

  // An answer that is told as a whole is collected in the one response.
  if (!detail_.whole) response_.Clear();
  response_.mutable_text()->append(batch.text);
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    AppendToken(batch.tokens[i], batch.streams[i], detail_, response_);
  }
  if (!batch.outcome && detail_.whole) return;
  if (!batch.outcome) {
    writing_ = true;
    lock.unlock();
    StartWrite(&response_);
    return;
  }
  finished_ = true;
  const absl::Status status = OutcomeStatus(*batch.outcome);
  if (status.ok()) {
    TakeBest(*batch.outcome, detail_, response_);
    SetFinished(*batch.outcome, detail_, response_);
  }
  lock.unlock();
  if (status.ok()) {
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    FinishWith(status);
  }
}

void GenerateReactor::FinishWith(const absl::Status& status) {
  if (const std::optional<double> seconds = RetryAfter(status)) {
    context_.AddTrailingMetadata(
        "retry-after-ms",
        absl::StrCat(static_cast<int64_t>(std::ceil(*seconds * 1e3))));
  }
  Finish(CallStatus(status));
}

void GenerateReactor::OnWriteDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (finished_) return;
  }
  if (!ok) engine_->Cancel(id_);
  Advance();
}

void GenerateReactor::OnCancel() {
  // The outcome comes through the outbox and finishes the call.
  std::lock_guard lock(mutex_);
  if (!finished_) engine_->Cancel(id_);
}

void GenerateReactor::OnDone() {
  const std::shared_ptr<GenerateReactor> last = std::move(self_);
  calls_.Leave();
}

}  // namespace braid::server
