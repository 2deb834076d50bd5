// ServeOptions as a config file.
#include "absl/strings/str_cat.h"
#include "server/class_spec.h"
#include "server/options.h"

namespace braid::server {

std::string ToConfigText(const ServeOptions& options) {
  std::string out;
  const auto line = [&out](absl::string_view key, auto value) {
    absl::StrAppend(&out, key, "=", value, "\n");
  };
  const auto quoted = [](absl::string_view value) {
    // Nothing inside single quotes means anything but itself.
    const bool plain = value.find_first_of("\"\\") == absl::string_view::npos;
    const char* quote = plain ? "\"" : "'";
    return absl::StrCat(quote, value, quote);
  };
  const auto text = [&](absl::string_view key, absl::string_view value) {
    line(key, quoted(value));
  };
  const auto list = [&](absl::string_view key,
                        const std::vector<std::string>& values) {
    absl::StrAppend(&out, key, "=[");
    for (const std::string& value : values) {
      absl::StrAppend(&out, &value == &values.front() ? "" : ", ",
                      quoted(value));
    }
    out += "]\n";
  };
  text("model", options.model);
  text("model-name", options.model_name);
  if (!options.parscale.empty()) text("parscale", options.parscale);
  if (!options.parscale_sets.empty())
    list("parscale-set", options.parscale_sets);
  text("parscale-mode", ToString(options.parscale_mode));
  if (options.parscale_max > 0) line("parscale-max", options.parscale_max);
  text("http", ToString(options.http));
  text("grpc", ToString(options.grpc));
  if (!options.api_keys.empty()) out += "# api-key is set, and not shown\n";
  if (!options.cors.origins().empty()) {
    list("allowed-origin", options.cors.origins());
  }
  line("max-body-bytes", options.max_body_bytes);
  line("max-connections", options.max_connections);
  line("drain-timeout", options.drain_timeout.count());
  text("devices", ToString(options.devices));
  text("split", options.split == SplitMode::kOn    ? "on"
                : options.split == SplitMode::kOff ? "off"
                                                   : "auto");
  line("static-roles", options.static_roles ? "true" : "false");
  line("no-lend-cores", options.lend_cores ? "false" : "true");
  text("cpu-isa", options.cpu_isa);
  text("kv-transport",
       options.kv_transport == KvTransportKind::kCopy ? "copy" : "loopback");
  if (options.kv_memory > 0) line("kv-memory", options.kv_memory);
  line("no-prefix-cache", options.prefix_cache ? "false" : "true");
  line("share-prefix-cache", options.share_prefix_cache ? "true" : "false");
  if (options.max_context > 0) line("max-context", options.max_context);
  line("default-max-tokens", options.default_max_tokens);
  line("max-running", options.max_running);
  line("max-queued", options.max_queued);
  line("prefill-chunk", options.prefill_chunk);
  std::vector<std::string> classes;
  for (const ServiceClass& each : options.classes) {
    classes.push_back(ToString(each));
  }
  list("class", classes);
  return out;
}

}  // namespace braid::server
