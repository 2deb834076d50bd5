// One Generate call: from the engine's tokens to gRPC writes, one at a time.
//
// Threads: gRPC's own and the wake thread; a mutex guards the little state.
// Lifetime: the reactor holds itself until gRPC says OnDone. The engine's
// wakers hold it weakly.
#pragma once

#include <memory>
#include <mutex>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "braid/v1/inference.grpc.pb.h"
#include "engine/engine.h"
#include "server/grpc/active_calls.h"
#include "server/grpc/inference_request.h"
#include "server/grpc/wake_thread.h"
#include "server/token_outbox.h"

namespace braid::server {

class GenerateReactor final
    : public grpc::ServerWriteReactor<v1::GenerateResponse>,
      public std::enable_shared_from_this<GenerateReactor> {
 public:
  // Submits the request, or finishes the call with its error, for which no
  // `engine` is needed. All but the request and `wire`, of which it is, outlive
  // the call. The result is gRPC's to call.
  static GenerateReactor* Start(grpc::CallbackServerContext& context,
                                Engine* engine, WakeThread& wakes,
                                ActiveCalls& calls,
                                const v1::GenerateRequest& wire,
                                absl::StatusOr<GenerateRequest> request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateReactor(grpc::CallbackServerContext& context, Engine* engine,
                  ActiveCalls& calls)
      : context_(context), engine_(engine), calls_(calls) {
    calls_.Enter();
  }

  // Writes what there is, unless a write is under way.
  void Advance();

  // Tells when to try again, where `status` says so.
  void FinishWith(const absl::Status& status);

  grpc::CallbackServerContext& context_;
  Engine* const engine_;
  ActiveCalls& calls_;                     // entered until OnDone
  std::shared_ptr<GenerateReactor> self_;  // until OnDone
  // Shared with the engine. Set before gRPC knows of the reactor.
  std::shared_ptr<TokenOutbox> outbox_;
  RequestId id_;
  AnswerDetail detail_;

  std::mutex mutex_;
  TokenOutbox::Batch batch_;       // guarded by mutex_
  bool writing_ = false;           // guarded by mutex_
  bool finished_ = false;          // guarded by mutex_
  v1::GenerateResponse response_;  // gRPC's while writing_
};

}  // namespace braid::server
