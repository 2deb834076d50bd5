#include "server/grpc/grpc_server.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "braid/v1/inference.grpc.pb.h"
#include "server/grpc/active_calls.h"
#include "server/grpc/generate_reactor.h"
#include "server/grpc/inference_request.h"
#include "server/grpc/wake_thread.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

constexpr char kService[] = "braid.v1.Inference";
// A call without a deadline has one in the far future.
constexpr std::chrono::hours kFarAway(24 * 365);

class InferenceService final : public v1::Inference::CallbackService {
 public:
  // What calls are answered with.
  struct Backing {
    const ServedModel& model;
    Engine& engine;
    const Clock& clock;
  };

  explicit InferenceService(const ApiKeys& keys) : keys_(keys) {}

  // Once. `backing` outlives the service.
  void Serve(const Backing* backing) { backing_ = backing; }

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const v1::GenerateRequest* wire) override {
    const Backing* backing = backing_;
    if (backing == nullptr) {
      return GenerateReactor::Start(*context, nullptr, wakes_, calls_, *wire,
                                    Loading());
    }
    return GenerateReactor::Start(*context, &backing->engine, wakes_, calls_,
                                  *wire,
                                  MakeRequest(*context, *backing, *wire));
  }

  grpc::ServerUnaryReactor* GetModelInfo(
      grpc::CallbackServerContext* context, const v1::GetModelInfoRequest*,
      v1::GetModelInfoResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const auto caller = CallerOf(*context); !caller.ok()) {
      reactor->Finish(CallStatus(caller.status()));
      return reactor;
    }
    const Backing* backing = backing_;
    if (backing == nullptr) {
      reactor->Finish(CallStatus(Loading()));
      return reactor;
    }
    const ServedModel& model = backing->model;
    response->set_model(model.name());
    response->set_max_context(model.max_context());
    response->set_vocabulary(model.tokenizer().vocabulary());
    response->set_max_parscale_streams(model.parscale().most());
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  ActiveCalls& calls() { return calls_; }

 private:
  static absl::Status Loading() {
    return WithRetryAfter(
        absl::UnavailableError("the model is loading; try again soon"), 1);
  }

  absl::StatusOr<Caller> CallerOf(
      const grpc::CallbackServerContext& context) const {
    if (!keys_.needed()) return Caller{};
    const auto found = context.client_metadata().find("authorization");
    if (found != context.client_metadata().end()) {
      absl::string_view key(found->second.data(), found->second.size());
      if (absl::ConsumePrefix(&key, "Bearer ")) {
        if (const std::optional<Caller> caller = keys_.Find(key)) {
          return *caller;
        }
      }
    }
    return absl::UnauthenticatedError(
        "missing or wrong API key; send it as metadata 'authorization: Bearer "
        "KEY'");
  }

  absl::StatusOr<GenerateRequest> MakeRequest(
      const grpc::CallbackServerContext& context, const Backing& backing,
      const v1::GenerateRequest& wire) const {
    BRAID_ASSIGN_OR_RETURN(const Caller caller, CallerOf(context));
    BRAID_ASSIGN_OR_RETURN(GenerateRequest request,
                           ParseGenerate(wire, backing.model));
    BRAID_ASSIGN_OR_RETURN(const ServiceTerms terms, ParseTerms(wire));
    BRAID_RETURN_IF_ERROR(Apply(terms, caller, backing.engine.classes(),
                                backing.clock.Now(), request));
    const auto left = context.deadline() - std::chrono::system_clock::now();
    if (left < kFarAway) {
      request.deadline = std::min(
          request.deadline,
          backing.clock.Now() + std::chrono::duration_cast<Duration>(left));
    }
    return request;
  }

  const ApiKeys keys_;
  std::atomic<const Backing*> backing_ = nullptr;
  WakeThread wakes_;
  ActiveCalls calls_;
};

}  // namespace

struct GrpcServer::Impl {
  explicit Impl(const ApiKeys& keys) : service(keys) {}

  std::optional<InferenceService::Backing> backing;
  InferenceService service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  bool stopped = false;
};

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const GrpcServerConfig& config) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto impl = std::make_unique<Impl>(config.keys);
  const std::string address = ToString(config.endpoint);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(),
                           &impl->port);
  builder.RegisterService(&impl->service);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<uint64_t>(config.max_message_bytes, 1u << 30)));
  // Two servers on one port would share its calls at random.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr || impl->port == 0) {
    return absl::AlreadyExistsError(absl::StrCat(
        "--grpc ", address,
        ": cannot listen there, the address is in use or not of this machine; "
        "choose another with --grpc"));
  }
  grpc::HealthCheckServiceInterface& health =
      *impl->server->GetHealthCheckService();
  health.SetServingStatus(kService, false);
  health.SetServingStatus(false);
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::~GrpcServer() { Stop(std::chrono::milliseconds(0)); }

uint16_t GrpcServer::port() const { return static_cast<uint16_t>(impl_->port); }

void GrpcServer::Serve(const ServedModel& model, Engine& engine,
                       const Clock& clock) {
  impl_->backing.emplace(InferenceService::Backing{model, engine, clock});
  impl_->service.Serve(&*impl_->backing);
  impl_->server->GetHealthCheckService()->SetServingStatus(true);
}

void GrpcServer::BeginDrain() {
  impl_->server->GetHealthCheckService()->SetServingStatus(false);
}

void GrpcServer::Stop(std::chrono::milliseconds grace) {
  if (impl_->stopped || impl_->server == nullptr) return;
  impl_->stopped = true;
  impl_->service.calls().WaitUntilNone(grace);
  // Cancels what is left: streams beyond the grace, and health watches.
  impl_->server->Shutdown(std::chrono::system_clock::now());
  impl_->server->Wait();
}

}  // namespace braid::server
