#include "server/options.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/parscale.h"
#include "server/byte_size.h"
#include "server/class_spec.h"
#include "server/command_line.h"
#include "server/parscale_terms.h"

namespace braid::server {
namespace {

// The flags as text, before they are understood.
struct RawOptions {
  std::string model, model_name, parscale, parscale_mode, http, grpc, devices,
      split, kv_transport, kv_memory, max_body_bytes, cpu_isa;
  std::vector<std::string> parscale_sets, api_keys, allowed_origins, classes;
  uint32_t parscale_max, max_connections, max_context, default_max_tokens,
      max_running, max_queued, prefill_chunk, drain_timeout;
  bool no_prefix_cache = false, share_prefix_cache = false,
       static_roles = false, no_lend_cores = false, print_config = false;
};

RawOptions Defaults() {
  const ServeOptions options;
  RawOptions raw;
  raw.parscale_mode = ToString(options.parscale_mode);
  raw.parscale_max = options.parscale_max;
  raw.http = ToString(options.http);
  raw.grpc = ToString(options.grpc);
  raw.split = "auto";
  raw.kv_transport = "loopback";
  raw.max_body_bytes = "8MiB";
  raw.cpu_isa = options.cpu_isa;
  raw.max_connections = options.max_connections;
  raw.max_context = options.max_context;
  raw.default_max_tokens = options.default_max_tokens;
  raw.max_running = options.max_running;
  raw.max_queued = options.max_queued;
  raw.prefill_chunk = options.prefill_chunk;
  raw.drain_timeout = static_cast<uint32_t>(options.drain_timeout.count());
  return raw;
}

// A flag that may be given several times, once per value.
CLI::Option* AddList(CLI::App& app, const char* name,
                     std::vector<std::string>& values, const char* help) {
  return app.add_option(name, values, help)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void AddModelAndEndpoints(CLI::App& app, RawOptions& raw) {
  app.add_option("--model", raw.model,
                 "GGUF or safetensors file, or a directory with config.json "
                 "(default: the model that deploy/quickstart.sh fetches)")
      ->group("Model");
  app.add_option("--model-name", raw.model_name,
                 "Name that clients use (default: from the path)")
      ->group("Model");
  app.add_option("--http", raw.http, "HTTP address; port 0 picks one")
      ->capture_default_str()
      ->group("Endpoints");
  app.add_option("--grpc", raw.grpc, "gRPC address; port 0 picks one")
      ->capture_default_str()
      ->group("Endpoints");
  AddList(app, "--api-key", raw.api_keys,
          "Ask for 'Authorization: Bearer KEY' (default: no key); repeatable, "
          "as TENANT=KEY for tenants that share the server fairly")
      ->group("Endpoints");
  AddList(app, "--allowed-origin", raw.allowed_origins,
          "Web pages that may use the server from a browser (CORS), e.g. "
          "https://chat.example.org; repeatable; * for all; pages of this "
          "machine always may, unless it is none")
      ->group("Endpoints");
  app.add_option("--max-body-bytes", raw.max_body_bytes,
                 "Largest request body, e.g. 8MiB")
      ->capture_default_str()
      ->group("Endpoints");
  app.add_option("--max-connections", raw.max_connections,
                 "Most HTTP connections at a time")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000000u))
      ->group("Endpoints");
  app.add_option("--drain-timeout", raw.drain_timeout,
                 "Seconds that running requests may go on after SIGTERM")
      ->capture_default_str()
      ->check(CLI::Range(0u, 86400u))
      ->group("Endpoints");
}

void AddParscale(CLI::App& app, RawOptions& raw) {
  app.add_option("--parscale", raw.parscale,
                 "Adapter file: PARSCALE streams for the model, any number of "
                 "which may answer together")
      ->group("PARSCALE");
  AddList(app, "--parscale-set", raw.parscale_sets,
          "Qwen2ParScale directory on the same backbone as --model: one more "
          "number of streams that a request may have; repeatable")
      ->group("PARSCALE");
  app.add_option("--parscale-mode", raw.parscale_mode,
                 "Of requests that name none: off, auto (streams where rows "
                 "are idle) or fixed (--parscale-max of them in every step)")
      ->capture_default_str()
      ->check(CLI::IsMember({"off", "auto", "fixed"}))
      ->group("PARSCALE");
  app.add_option("--parscale-max", raw.parscale_max,
                 "Most streams of a request (default: as many as there are "
                 "weights for)")
      ->check(CLI::Range(1, kMostStreams))
      ->group("PARSCALE");
}

void AddDevicesAndMemory(CLI::App& app, RawOptions& raw) {
  app.add_option("--devices", raw.devices,
                 "Core sets and their phase: prefill=cpu:0-3,decode=cpu:4-7 "
                 "(default: the two halves of the available cores)")
      ->group("Devices");
  app.add_option("--split", raw.split,
                 "Hand requests from prefill to decode devices")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->group("Devices");
  app.add_flag("--static-roles", raw.static_roles,
               "With --split auto: no device works for the other pool")
      ->group("Devices");
  app.add_flag("--no-lend-cores", raw.no_lend_cores,
               "Keep each step on its own device's cores")
      ->group("Devices");
  app.add_option("--cpu-isa", raw.cpu_isa,
                 "Kernels: auto (best), or the name of an instruction set")
      ->capture_default_str()
      ->group("Devices");
  app.add_option("--kv-transport", raw.kv_transport,
                 "How KV blocks reach the decode device")
      ->capture_default_str()
      ->check(CLI::IsMember({"loopback", "copy"}))
      ->group("KV cache");
  app.add_option("--kv-memory", raw.kv_memory,
                 "Memory for KV blocks, e.g. 2GiB (default: a quarter of what "
                 "is available, at most 8GiB)")
      ->group("KV cache");
  app.add_flag("--no-prefix-cache", raw.no_prefix_cache,
               "Do not keep the KV of finished requests")
      ->group("KV cache");
  app.add_flag("--share-prefix-cache", raw.share_prefix_cache,
               "Let tenants find each other's prompts in the cache; else none "
               "can tell by timing what others asked")
      ->group("KV cache");
}

void AddScheduling(CLI::App& app, RawOptions& raw) {
  AddList(app, "--class", raw.classes,
          "Service class NAME:ttft=2s,tpot=100ms,queue=1024; repeatable, best "
          "first (default: interactive 2s, 100ms; batch 60s, 500ms). What "
          "cannot keep its class's ttft gets 429 with Retry-After")
      ->group("Scheduling");
  app.add_option("--max-context", raw.max_context,
                 "Most tokens of prompt and output (default: the model's, or "
                 "what --kv-memory holds)")
      ->check(CLI::Range(1u, 100000000u))
      ->group("Scheduling");
  app.add_option("--default-max-tokens", raw.default_max_tokens,
                 "Most tokens of a chat or gRPC answer whose request sets no "
                 "limit; KV blocks for all of them are reserved")
      ->capture_default_str()
      ->check(CLI::Range(1u, 100000000u))
      ->group("Scheduling");
  app.add_option("--max-running", raw.max_running,
                 "Most requests in prefill or decode")
      ->capture_default_str()
      ->check(CLI::Range(1u, 65536u))
      ->group("Scheduling");
  app.add_option("--max-queued", raw.max_queued,
                 "Most requests of a class that wait, unless it says queue=")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000000u))
      ->group("Scheduling");
  app.add_option("--prefill-chunk", raw.prefill_chunk,
                 "Most prompt tokens in one step")
      ->capture_default_str()
      ->check(CLI::Range(1u, 512u))
      ->group("Scheduling");
}

absl::StatusOr<Endpoint> ParseEndpointFlag(absl::string_view flag,
                                           absl::string_view text) {
  absl::StatusOr<Endpoint> endpoint = ParseEndpoint(text);
  if (endpoint.ok()) return endpoint;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", endpoint.status().message()));
}

absl::StatusOr<uint64_t> ParseSizeFlag(absl::string_view flag,
                                       absl::string_view text) {
  absl::StatusOr<uint64_t> size = ParseByteSize(text);
  if (size.ok() && *size > 0) return size;
  if (size.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": must be more than 0"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", size.status().message()));
}

absl::StatusOr<std::string> DefaultModelPath() {
  std::filesystem::path cache;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME");
      xdg != nullptr && *xdg != '\0') {
    cache = xdg;
  } else if (const char* home = std::getenv("HOME"); home != nullptr) {
    cache = std::filesystem::path(home) / ".cache";
  }
  const std::filesystem::path path =
      cache / "braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  std::error_code error;
  if (std::filesystem::exists(path, error)) return path.string();
  return absl::InvalidArgumentError(
      absl::StrCat("no default model at ", path.string(),
                   "; run deploy/quickstart.sh to fetch it, or pass --model"));
}

std::string NameFromPath(const std::string& path) {
  std::filesystem::path p(path);
  if (p.filename().empty()) p = p.parent_path();
  const bool is_file =
      p.extension() == ".gguf" || p.extension() == ".safetensors";
  return is_file ? p.stem().string() : p.filename().string();
}

absl::StatusOr<ServeOptions> Resolve(const RawOptions& raw) {
  ServeOptions options;
  options.model = raw.model;
  if (options.model.empty()) {
    BRAID_ASSIGN_OR_RETURN(options.model, DefaultModelPath());
  }
  options.model_name =
      raw.model_name.empty() ? NameFromPath(options.model) : raw.model_name;
  options.parscale = raw.parscale;
  options.parscale_sets = raw.parscale_sets;
  if (!options.parscale.empty() && !options.parscale_sets.empty()) {
    return absl::InvalidArgumentError(
        "--parscale and --parscale-set: give one of the two; an adapter has "
        "every number of streams");
  }
  options.parscale_mode = *ParseStreamMode(raw.parscale_mode);
  options.parscale_max = raw.parscale_max;
  BRAID_ASSIGN_OR_RETURN(options.http, ParseEndpointFlag("--http", raw.http));
  BRAID_ASSIGN_OR_RETURN(options.grpc, ParseEndpointFlag("--grpc", raw.grpc));
  for (const std::string& text : raw.api_keys) {
    BRAID_ASSIGN_OR_RETURN(ApiKey key, ParseApiKey(text));
    if (std::ranges::count(options.api_keys, key.key, &ApiKey::key) > 0) {
      return absl::InvalidArgumentError(
          "--api-key: the same key is given twice");
    }
    options.api_keys.push_back(std::move(key));
  }
  absl::StatusOr<CorsPolicy> cors = CorsPolicy::Create(raw.allowed_origins);
  if (!cors.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--allowed-origin: ", cors.status().message()));
  }
  options.cors = *std::move(cors);
  BRAID_ASSIGN_OR_RETURN(options.max_body_bytes,
                         ParseSizeFlag("--max-body-bytes", raw.max_body_bytes));
  options.max_connections = raw.max_connections;
  options.drain_timeout = std::chrono::seconds(raw.drain_timeout);

  const std::vector<int> cores = AvailableCores();
  if (raw.devices.empty()) {
    options.devices = DefaultDevices(cores);
  } else {
    BRAID_ASSIGN_OR_RETURN(options.devices, ParseDevices(raw.devices, cores));
  }
  options.split = raw.split == "on"    ? SplitMode::kOn
                  : raw.split == "off" ? SplitMode::kOff
                                       : SplitMode::kAuto;
  options.static_roles = raw.static_roles;
  options.lend_cores = !raw.no_lend_cores;
  options.cpu_isa = raw.cpu_isa;

  options.kv_transport = raw.kv_transport == "copy"
                             ? KvTransportKind::kCopy
                             : KvTransportKind::kLoopback;
  if (!raw.kv_memory.empty()) {
    BRAID_ASSIGN_OR_RETURN(options.kv_memory,
                           ParseSizeFlag("--kv-memory", raw.kv_memory));
  }
  options.prefix_cache = !raw.no_prefix_cache;
  options.share_prefix_cache = raw.share_prefix_cache;
  options.max_context = raw.max_context;
  options.default_max_tokens = raw.default_max_tokens;
  options.max_running = raw.max_running;
  options.max_queued = raw.max_queued;
  BRAID_ASSIGN_OR_RETURN(options.classes,
                         ParseServiceClasses(raw.classes, raw.max_queued));
  options.prefill_chunk = raw.prefill_chunk;
  return options;
}

}  // namespace

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text) {
  const size_t colon = text.rfind(':');
  Endpoint endpoint;
  uint32_t port = 0;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is not HOST:PORT; write e.g. 127.0.0.1:8000"));
  }
  endpoint.host = std::string(text.substr(0, colon));
  if (endpoint.host.front() == '[' && endpoint.host.back() == ']') {
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  endpoint.port = static_cast<uint16_t>(port);
  return endpoint;
}

std::string ToString(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return absl::StrCat(v6 ? "[" : "", endpoint.host, v6 ? "]" : "", ":",
                      endpoint.port);
}

absl::StatusOr<std::variant<ServeOptions, PrintAndExit>> ParseServeOptions(
    const std::vector<std::string>& args) {
  RawOptions raw = Defaults();
  CLI::App app("Serves a language model over HTTP and gRPC.", "braid serve");
  app.get_formatter()->column_width(34);
  app.set_config("--config", "", "File with lines such as http=\"0.0.0.0:80\"")
      ->group("Configuration");
  app.add_flag("--print-config", raw.print_config,
               "Print the resolved values as a config file and exit")
      ->configurable(false)
      ->group("Configuration");
  app.allow_config_extras(false);
  app.footer(
      "A flag beats its environment variable, which beats the config file.\n"
      "SIGTERM and SIGINT drain; a second one ends the process at once.\n"
      "Exit codes: 0 drained; 1 requests still ran when --drain-timeout was\n"
      "over; 2 could not begin to serve; 128 + N second signal, of number N.");
  AddModelAndEndpoints(app, raw);
  AddParscale(app, raw);
  AddDevicesAndMemory(app, raw);
  AddScheduling(app, raw);

  std::vector<std::string> all = EnvironmentArgs(app, args);
  all.insert(all.end(), args.begin(), args.end());
  const absl::StatusOr<std::string> help =
      ParseFlags(app, all, "braid serve --help");
  if (help.ok() && !help->empty()) return PrintAndExit{*help};
  absl::StatusOr<ServeOptions> options =
      help.ok() ? Resolve(raw) : absl::StatusOr<ServeOptions>(help.status());
  if (!options.ok()) {
    const CLI::Option& config = *app.get_config_ptr();
    return absl::InvalidArgumentError(
        WithOrigin(options.status().message(), args,
                   config.empty() ? "" : config.as<std::string>()));
  }
  options->unknown_variables = UnknownVariables(app);
  if (raw.print_config) return PrintAndExit{ToConfigText(*options)};
  return *std::move(options);
}

}  // namespace braid::server
