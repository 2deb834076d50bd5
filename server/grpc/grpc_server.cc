#include "server/grpc/grpc_server.h"

#include <algorithm>
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

namespace braid::server {
namespace {

constexpr char kService[] = "braid.v1.Inference";
// A call without a deadline has one in the far future.
constexpr std::chrono::hours kFarAway(24 * 365);

class InferenceService final : public v1::Inference::CallbackService {
 public:
  InferenceService(const GrpcServerConfig& config, const ServedModel& model,
                   Engine& engine, const Clock& clock)
      : keys_(config.keys), model_(model), engine_(engine), clock_(clock) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const v1::GenerateRequest* wire) override {
    return GenerateReactor::Start(*context, engine_, wakes_, calls_,
                                  MakeRequest(*context, *wire));
  }

  grpc::ServerUnaryReactor* GetModelInfo(
      grpc::CallbackServerContext* context, const v1::GetModelInfoRequest*,
      v1::GetModelInfoResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const auto caller = CallerOf(*context); !caller.ok()) {
      reactor->Finish(CallStatus(caller.status()));
      return reactor;
    }
    response->set_model(model_.name());
    response->set_max_context(model_.max_context());
    response->set_vocabulary(model_.tokenizer().vocabulary());
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  ActiveCalls& calls() { return calls_; }

 private:
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
      const grpc::CallbackServerContext& context,
      const v1::GenerateRequest& wire) const {
    BRAID_ASSIGN_OR_RETURN(const Caller caller, CallerOf(context));
    BRAID_ASSIGN_OR_RETURN(GenerateRequest request,
                           ParseGenerate(wire, model_));
    BRAID_ASSIGN_OR_RETURN(const ServiceTerms terms, ParseTerms(wire));
    BRAID_RETURN_IF_ERROR(
        Apply(terms, caller, engine_.classes(), clock_.Now(), request));
    const auto left = context.deadline() - std::chrono::system_clock::now();
    if (left < kFarAway) {
      request.deadline =
          std::min(request.deadline,
                   clock_.Now() + std::chrono::duration_cast<Duration>(left));
    }
    return request;
  }

  const ApiKeys keys_;
  const ServedModel& model_;
  Engine& engine_;
  const Clock& clock_;
  WakeThread wakes_;
  ActiveCalls calls_;
};

}  // namespace

struct GrpcServer::Impl {
  Impl(const GrpcServerConfig& config, const ServedModel& model, Engine& engine,
       const Clock& clock)
      : service(config, model, engine, clock) {}

  InferenceService service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  bool stopped = false;
};

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const GrpcServerConfig& config, const ServedModel& model, Engine& engine,
    const Clock& clock) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto impl = std::make_unique<Impl>(config, model, engine, clock);
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
  impl->server->GetHealthCheckService()->SetServingStatus(kService, true);
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::~GrpcServer() { Stop(std::chrono::milliseconds(0)); }

uint16_t GrpcServer::port() const { return static_cast<uint16_t>(impl_->port); }

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
