#include "tests/server/api_server.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"
#include "gtest/gtest.h"
#include "kvcache/transport/loopback_transport.h"
#include "server/debug_routes.h"
#include "server/page_routes.h"
#include "server/probe_routes.h"

namespace braid::server {
namespace {

std::unique_ptr<ServedModel> FakeModel(const ApiServerOptions& options) {
  ServedModel::Parts parts;
  parts.name = "fake";
  auto tokenizer = Tokenizer::Create(FakeTokenizer().spec());
  BRAID_CHECK(tokenizer.ok());
  parts.tokenizer = *std::move(tokenizer);
  parts.chat_template =
      "{% for message in messages %}{{ message.content }}{% endfor %}";
  parts.max_context = options.engine.max_context;
  parts.created_unix_seconds = 1;
  auto parscale = ParscaleOffer::Create(
      options.engine.stream_sets, options.parscale_mode, options.parscale_max);
  BRAID_CHECK_MSG(parscale.ok(), parscale.status().ToString());
  parts.parscale = *std::move(parscale);
  auto model = ServedModel::Create(std::move(parts));
  BRAID_CHECK_MSG(model.ok(), model.status().ToString());
  return *std::move(model);
}

}  // namespace

ApiServer::ApiServer(ApiServerOptions options)
    : options_(std::move(options)),
      metrics_({"1.2.3", "fake"}),
      router_(ApiKeys(options_.keys)) {
  std::vector<FakeRunner*> runners;
  const bool timed = options_.step > Duration(0);
  const Clock& clock = timed ? static_cast<const Clock&>(step_clock_) : clock_;
  EngineConfig config = FakeEngineConfig(options_.engine, &clock,
                                         /*threads=*/false, &runners);
  std::function<void()> on_step;
  if (timed) {
    on_step = [this] { step_clock_.Move(options_.step); };
  }
  for (size_t i = 0; i < config.devices.size(); ++i) {
    auto& runner = config.devices[i].runner;
    runner = std::make_unique<GatedRunner>(std::move(runner), runners[i], gate_,
                                           on_step);
  }
  config.make_transport = [](std::function<void()> wake) {
    return std::make_unique<LoopbackTransport>(
        TransportOptions{.wake = std::move(wake)});
  };
  auto engine = Engine::Create(std::move(config));
  BRAID_CHECK_MSG(engine.ok(), engine.status().ToString());
  engine_ = *std::move(engine);
  model_ = FakeModel(options_);
  api_ = std::make_unique<OpenAiApi>(*model_, *engine_, clock, metrics_,
                                     options_.max_waiting_tokens);
  api_->AddRoutes(router_);
  tokenizer_api_ = std::make_unique<TokenizerApi>(*model_);
  tokenizer_api_->AddRoutes(router_);
  AddProbeRoutes(router_, *engine_, lifecycle_, metrics_);
  AddDebugRoutes(router_, *engine_, clock);
  AddPageRoutes(router_);
  HttpServerConfig http;
  http.limits = options_.limits;
  http.on_response = [this](absl::string_view route, int status) {
    metrics_.CountHttpResponse(route, status);
  };
  auto server = HttpServer::Start(std::move(http), &router_);
  BRAID_CHECK_MSG(server.ok(), server.status().ToString());
  http_ = *std::move(server);
}

ApiServer::~ApiServer() {
  gate_->Open();
  http_->Stop(std::chrono::seconds(30));
  engine_.reset();
}

bool ApiServer::WaitFor(const std::function<bool(const EngineStats&)>& done) {
  const TimePoint give_up = clock_.Now() + std::chrono::seconds(30);
  while (!done(engine_->Snapshot())) {
    if (clock_.Now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

Expected ApiServer::Answer(std::string_view prompt, uint64_t seed,
                           uint32_t max_tokens,
                           std::span<const uint32_t> streams) const {
  GenerateRequest request{.prompt = FakeTokens(prompt),
                          .max_tokens = max_tokens};
  request.sampling.seed = seed;
  request.sampling.ignore_eos = true;
  return ExpectedOf(request, options_.engine.max_context, streams);
}

JsonValue Post(ApiServer& server, std::string_view path, std::string_view body,
               int status) {
  HttpClient client(server.port());
  const ClientResponse response = client.Post(path, body);
  EXPECT_EQ(response.status, status) << body << " -> " << response.body;
  return response.json();
}

std::vector<TokenId> FakeTokens(std::string_view text) {
  return FakeTokenizer().Encode(text, /*parse_special=*/false);
}

uint64_t Finished(const EngineStats& stats, FinishReason reason) {
  return stats.requests_finished[static_cast<size_t>(reason)];
}

const JsonValue* At(
    const JsonValue& value,
    std::initializer_list<std::variant<const char*, int>> path) {
  const JsonValue* at = &value;
  for (const auto& step : path) {
    if (at == nullptr) return nullptr;
    if (const auto* key = std::get_if<const char*>(&step)) {
      at = at->Find(*key);
    } else {
      const auto index = static_cast<size_t>(std::get<int>(step));
      const JsonValue::Array* list = at->array();
      at = list != nullptr && index < list->size() ? &(*list)[index] : nullptr;
    }
  }
  return at;
}

std::string TextAt(const JsonValue& value,
                   std::initializer_list<std::variant<const char*, int>> path) {
  const JsonValue* at = At(value, path);
  return at != nullptr && at->string() != nullptr ? *at->string() : "(none)";
}

int64_t IntegerAt(const JsonValue& value,
                  std::initializer_list<std::variant<const char*, int>> path) {
  const JsonValue* at = At(value, path);
  return at != nullptr && at->integer() != nullptr ? *at->integer() : -1;
}

}  // namespace braid::server
