// What `braid serve` was asked to do: parsed from flags, environment and config
// file, and validated once. Nothing deeper in the program reads a flag.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "scheduler/service_class.h"
#include "scheduler/stream_terms.h"
#include "server/api_keys.h"
#include "server/device_spec.h"
#include "server/http/cors.h"

namespace braid::server {

struct Endpoint {
  std::string host;
  uint16_t port = 0;  // 0: the system picks one, and the log says which
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};
// "[::1]:8000", "127.0.0.1:8000", "0.0.0.0:0".
absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text);
std::string ToString(const Endpoint& endpoint);

enum class KvTransportKind : uint8_t { kLoopback, kCopy };

struct ServeOptions {
  // Model
  std::string model;       // path of a GGUF, a safetensors file or a directory
  std::string model_name;  // as clients name it; default: from the path

  // PARSCALE
  std::string parscale;                    // an adapter for the model; or empty
  std::vector<std::string> parscale_sets;  // folders, other sets of its streams
  StreamMode parscale_mode = StreamMode::kOff;  // of requests that name none
  uint32_t parscale_max = 0;  // streams of a request; 0: all there are

  // Endpoints
  Endpoint http{"127.0.0.1", 8000};
  Endpoint grpc{"127.0.0.1", 8001};
  std::vector<ApiKey> api_keys;  // empty: none asked for
  CorsPolicy cors;               // pages that may use the server from a browser
  uint64_t max_body_bytes = 8u << 20;
  uint32_t max_connections = 1024;
  std::chrono::seconds drain_timeout{30};

  // Devices
  std::vector<DeviceSpec> devices;
  SplitMode split = SplitMode::kAuto;
  bool static_roles = false;  // with --split auto
  bool lend_cores = true;
  std::string cpu_isa = "auto";

  // KV cache
  KvTransportKind kv_transport = KvTransportKind::kLoopback;
  uint64_t kv_memory = 0;  // bytes over all pools; 0: a share of free memory
  bool prefix_cache = true;
  bool share_prefix_cache = false;  // among tenants

  // Scheduling
  uint32_t max_context = 0;  // tokens; 0: the model's, or what the KV holds
  // Of a chat or gRPC request that names no limit. Blocks for the whole answer
  // are taken at admission, so a limit nobody needs costs others their place.
  uint32_t default_max_tokens = 1024;
  uint32_t max_running = 256;
  uint32_t max_queued = 1024;  // of a class that does not say
  // Best first: the first is that of requests that name none, the last is shed
  // first.
  std::vector<ServiceClass> classes;
  uint32_t prefill_chunk = 256;

  // Environment variables BRAID_... that mean none of the flags.
  std::vector<std::string> unknown_variables;
};

// Parsing may end without anything to serve: --help, --print-config.
struct PrintAndExit {
  std::string text;
};

// `args` are those behind `braid serve`. INVALID_ARGUMENT is one line that says
// which flag, environment variable or config key to change.
absl::StatusOr<std::variant<ServeOptions, PrintAndExit>> ParseServeOptions(
    const std::vector<std::string>& args);

// As a config file that --config takes.
std::string ToConfigText(const ServeOptions& options);

}  // namespace braid::server
