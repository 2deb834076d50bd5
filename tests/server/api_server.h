// The HTTP API of a server, over a loopback socket, on a real engine whose
// devices are fakes: what every test of the API needs.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "server/http/http_server.h"
#include "server/http/router.h"
#include "server/lifecycle.h"
#include "server/metrics_exporter.h"
#include "server/openai/openai_api.h"
#include "server/openai/tokenizer_api.h"
#include "server/served_model.h"
#include "tests/engine/engine_fixture.h"
#include "tests/server/http_client.h"
#include "tests/server/step_gate.h"

namespace braid::server {

struct ApiServerOptions {
  HarnessOptions engine{.split = SplitMode::kAuto, .blocks = 256};
  HttpLimits limits;
  size_t max_waiting_tokens = 4096;
  std::vector<ApiKey> keys;
  // With engine.stream_sets.
  StreamMode parscale_mode = StreamMode::kOff;
  uint32_t parscale_max = 0;
  // Time stands still but for the steps, of this length each. 0: real time.
  Duration step{0};
};

// The model is called "fake"; its chat template is the messages' contents, one
// after the other.
class ApiServer {
 public:
  explicit ApiServer(ApiServerOptions options = {});
  ~ApiServer();

  uint16_t port() const { return http_->port(); }
  StepGate& gate() { return *gate_; }
  Engine& engine() { return *engine_; }
  HttpServer& http() { return *http_; }
  const Router& router() const { return router_; }
  Lifecycle& lifecycle() { return lifecycle_; }
  const HarnessOptions& engine_options() const { return options_.engine; }

  // Until `done`, for at most 30 s; false is a failure of the test.
  bool WaitFor(const std::function<bool(const EngineStats&)>& done);

  // What the engine must answer to `prompt` with this seed and no end token.
  // `streams`: by token, 1 behind their end.
  Expected Answer(std::string_view prompt, uint64_t seed, uint32_t max_tokens,
                  std::span<const uint32_t> streams = {}) const;

 private:
  const ApiServerOptions options_;
  const std::shared_ptr<StepGate> gate_ = std::make_shared<StepGate>();
  SystemClock clock_;
  HandClock step_clock_;  // the engine's, with options_.step
  Lifecycle lifecycle_;
  MetricsExporter metrics_;
  Router router_;
  std::unique_ptr<ServedModel> model_;
  std::unique_ptr<OpenAiApi> api_;
  std::unique_ptr<TokenizerApi> tokenizer_api_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Engine> engine_;  // Goes first: it calls wakers of http_.
};

// The answer's JSON, on a connection of its own. Any other status is a failure
// of the test.
JsonValue Post(ApiServer& server, std::string_view path, std::string_view body,
               int status = 200);

// `text` in the tokens of FakeTokenizer.
std::vector<TokenId> FakeTokens(std::string_view text);

uint64_t Finished(const EngineStats& stats, FinishReason reason);

// Follows `path` ("choices", 0, "delta"); null where there is no such thing.
const JsonValue* At(const JsonValue& value,
                    std::initializer_list<std::variant<const char*, int>> path);
// The string there; "(none)" when there is none.
std::string TextAt(const JsonValue& value,
                   std::initializer_list<std::variant<const char*, int>> path);
int64_t IntegerAt(const JsonValue& value,
                  std::initializer_list<std::variant<const char*, int>> path);

}  // namespace braid::server
