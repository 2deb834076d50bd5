#include "server/daemon.h"

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/step_probe.h"
#include "model/model_file.h"
#include "server/backend.h"
#include "server/debug_routes.h"
#include "server/grpc/grpc_server.h"
#include "server/http/http_server.h"
#include "server/lifecycle.h"
#include "server/metrics_exporter.h"
#include "server/openai/openai_api.h"
#include "server/openai/tokenizer_api.h"
#include "server/page_routes.h"
#include "server/probe_routes.h"
#include "server/served_model.h"
#include "server/shutdown_signal.h"
#include "server/transport_factory.h"
#include "server/version.h"

namespace braid::server {
namespace {

// For answers whose last bytes are still on their way when all requests have
// ended.
constexpr std::chrono::seconds kFlushTime(5);

// Of every pool's memory, what is there before the first request, and the most
// time that takes.
constexpr size_t kPopulatedBytes = size_t{1} << 30;
constexpr std::chrono::seconds kPopulateTime(1);

absl::Status ModelError(const std::string& path, const absl::Status& status) {
  absl::string_view message = status.message();
  while (absl::ConsumePrefix(&message, absl::StrCat(path, ": "))) {
  }
  return absl::Status(
      status.code(),
      absl::StrCat("--model ", path, ": ", message,
                   "; deploy/quickstart.sh fetches one that works"));
}

absl::StatusOr<std::unique_ptr<ServedModel>> MakeServedModel(
    const ServeOptions& options, const ModelFile& file, uint32_t max_context,
    ParscaleOffer parscale) {
  ServedModel::Parts parts;
  parts.name = options.model_name;
  BRAID_ASSIGN_OR_RETURN(parts.tokenizer, Tokenizer::Create(file.tokenizer()));
  parts.chat_template = file.chat_template();
  parts.max_context = max_context;
  parts.default_max_tokens = options.default_max_tokens;
  parts.parscale = std::move(parscale);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  parts.created_unix_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(now).count();
  return ServedModel::Create(std::move(parts));
}

EngineConfig MakeEngineConfig(const ServeOptions& options, Backend backend,
                              const ServedModel& model, const Clock& clock,
                              uint64_t fingerprint) {
  EngineConfig config;
  config.devices = std::move(backend.devices);
  config.arenas = std::move(backend.arenas);
  config.tokenizer = &model.tokenizer();
  config.clock = &clock;
  config.make_transport = [kind = options.kv_transport](auto wake) {
    return MakeTransport(kind, std::move(wake));
  };
  config.split = options.split;
  config.static_roles = options.static_roles;
  config.max_context = backend.max_context;
  config.prefill_chunk = options.prefill_chunk;
  config.max_running = options.max_running;
  config.classes = options.classes;
  config.lend_cores = options.lend_cores;
  config.prefix_cache = options.prefix_cache;
  config.model_fingerprint = fingerprint;
  config.stream_sets = std::move(backend.stream_sets);
  return config;
}

// Everything a node is made of, in the order in which it comes up. Destroyed in
// reverse, which is also the order in which one part uses another.
struct Node {
  SystemClock clock;
  Lifecycle lifecycle;
  std::unique_ptr<ServedModel> model;
  std::unique_ptr<MetricsExporter> metrics;
  std::unique_ptr<Router> loading, router;
  std::unique_ptr<OpenAiApi> openai;
  std::unique_ptr<TokenizerApi> tokenizer;
  // Wakers reach into the servers as long as the engine lives, so it goes
  // first: see TakeDown.
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<Engine> engine;
  std::string backend;
};

// Before the model is loaded, so that a port that is taken is told at once, and
// that probes have an answer.
absl::Status StartServers(const ServeOptions& options, Node& node) {
  const ApiKeys keys(options.api_keys, options.share_prefix_cache);
  node.metrics = std::make_unique<MetricsExporter>(
      BuildInfo{kVersion, options.model_name});
  node.loading = std::make_unique<Router>(ApiKeys());
  AddLoadingRoutes(*node.loading);
  AddPageRoutes(*node.loading);
  node.router = std::make_unique<Router>(keys);

  HttpServerConfig http;
  http.host = options.http.host;
  http.port = options.http.port;
  http.limits.body_bytes = options.max_body_bytes;
  http.limits.connections = options.max_connections;
  http.cors = options.cors;
  http.on_response = [metrics = node.metrics.get()](absl::string_view route,
                                                    int status) {
    metrics->CountHttpResponse(route, status);
  };
  BRAID_ASSIGN_OR_RETURN(
      node.http, HttpServer::Start(std::move(http), node.loading.get()));
  BRAID_ASSIGN_OR_RETURN(
      node.grpc,
      GrpcServer::Start({options.grpc, keys, options.max_body_bytes}));
  return absl::OkStatus();
}

absl::Status LoadModel(const ServeOptions& options, Node& node) {
  absl::StatusOr<std::unique_ptr<ModelFile>> file =
      ModelFile::Open(options.model);
  if (!file.ok()) return ModelError(options.model, file.status());
  BRAID_ASSIGN_OR_RETURN(Backend backend, MakeCpuBackend(**file, options));
  node.backend = backend.description;
  BRAID_ASSIGN_OR_RETURN(
      ParscaleOffer parscale,
      ParscaleOffer::Create(backend.stream_sets, options.parscale_mode,
                            options.parscale_max));
  absl::StatusOr<std::unique_ptr<ServedModel>> model = MakeServedModel(
      options, **file, backend.max_context, std::move(parscale));
  if (!model.ok()) return ModelError(options.model, model.status());
  node.model = *std::move(model);
  EngineConfig config =
      MakeEngineConfig(options, std::move(backend), *node.model, node.clock,
                       (*file)->fingerprint());
  const TimePoint until = node.clock.Now() + kPopulateTime;
  for (const auto& arena : config.arenas) {
    arena->Populate(kPopulatedBytes, node.clock, until);
  }
  MeasureSteps(config);
  BRAID_ASSIGN_OR_RETURN(node.engine, Engine::Create(std::move(config)));
  return absl::OkStatus();
}

absl::Status BringUp(const ServeOptions& options, Node& node) {
  BRAID_RETURN_IF_ERROR(StartServers(options, node));
  BRAID_RETURN_IF_ERROR(LoadModel(options, node));
  node.openai = std::make_unique<OpenAiApi>(*node.model, *node.engine,
                                            node.clock, *node.metrics);
  node.openai->AddRoutes(*node.router);
  node.tokenizer = std::make_unique<TokenizerApi>(*node.model);
  node.tokenizer->AddRoutes(*node.router);
  AddProbeRoutes(*node.router, *node.engine, node.lifecycle, *node.metrics);
  AddDebugRoutes(*node.router, *node.engine, node.clock);
  AddPageRoutes(*node.router);
  node.http->Serve(node.router.get());
  node.grpc->Serve(*node.model, *node.engine, node.clock);
  return absl::OkStatus();
}

void Greet(const ServeOptions& options, const Node& node) {
  Endpoint http = options.http, grpc = options.grpc;
  http.port = node.http->port();
  grpc.port = node.grpc->port();
  const std::string url = absl::StrCat("http://", ToString(http));
  std::printf(
      "Braid %s serves %s (context %u tokens)\n"
      "  devices  %s (%s)\n"
      "  HTTP     %s (open it in a browser)\n"
      "  gRPC     grpc://%s\n"
      "Try it:\n"
      "  curl %s/v1/chat/completions -H 'Content-Type: application/json' "
      "-d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'\n",
      kVersion, node.model->name().c_str(), node.model->max_context(),
      ToString(options.devices).c_str(), node.backend.c_str(), url.c_str(),
      ToString(grpc).c_str(), url.c_str());
  std::fflush(stdout);
}

DrainResult TakeDown(const ServeOptions& options, Node& node) {
  node.lifecycle.BeginDrain();
  node.grpc->BeginDrain();
  const bool complete = node.engine->Drain(options.drain_timeout);
  if (!complete) {
    std::fprintf(stderr,
                 "braid: --drain-timeout %lld s is over; ending what still "
                 "runs\n",
                 static_cast<long long>(options.drain_timeout.count()));
    // Every request gets its outcome, which the servers pass on below.
    node.engine->Stop();
  }
  node.http->Stop(kFlushTime);
  node.grpc->Stop(kFlushTime);
  node.engine.reset();
  return complete ? DrainResult::kComplete : DrainResult::kCutShort;
}

}  // namespace

absl::StatusOr<DrainResult> Serve(const ServeOptions& options) {
  ShutdownSignal shutdown;
  Node node;
  BRAID_RETURN_IF_ERROR(BringUp(options, node));
  Greet(options, node);
  shutdown.Wait();
  std::printf("braid: draining\n");
  std::fflush(stdout);
  return TakeDown(options, node);
}

}  // namespace braid::server
