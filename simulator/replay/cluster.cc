#include "simulator/replay/cluster.h"

#include <algorithm>
#include <set>

#include <simdjson.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "simulator/replay/text_file.h"

namespace braid {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr uint32_t kMaxWorkers = 1024;
constexpr uint64_t kMaxFileBytes = 1 << 20;

// An object whose every key must be asked for: Done tells which was not.
class Fields {
 public:
  Fields(std::string where, object fields)
      : where_(std::move(where)), fields_(fields) {}

  static absl::StatusOr<Fields> Of(std::string where, const element& value) {
    object fields;
    if (value.get(fields) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": expected an object { }"));
    }
    return Fields(std::move(where), fields);
  }

  std::optional<element> Find(absl::string_view key) {
    asked_.insert(std::string(key));
    element value;
    if (fields_[std::string_view(key.data(), key.size())].get(value) !=
        simdjson::SUCCESS)
      return std::nullopt;
    return value;
  }

  template <typename Number>
  absl::Status Get(absl::string_view key, double least, double most,
                   Number& number) {
    const std::optional<element> value = Find(key);
    if (!value) return absl::OkStatus();
    double parsed = 0;
    if (value->get(parsed) != simdjson::SUCCESS || !(parsed >= least) ||
        !(parsed <= most) ||
        (std::is_integral_v<Number> &&
         parsed != static_cast<double>(static_cast<Number>(parsed)))) {
      return Error(
          key, absl::StrCat(
                   "expected ",
                   std::is_integral_v<Number> ? "a whole number" : "a number",
                   " from ", least, " to ", most));
    }
    number = static_cast<Number>(parsed);
    return absl::OkStatus();
  }

  absl::Status Get(absl::string_view key, std::string& text) {
    const std::optional<element> value = Find(key);
    if (!value) return absl::OkStatus();
    std::string_view parsed;
    if (value->get(parsed) != simdjson::SUCCESS || parsed.empty()) {
      return Error(key, "expected a text");
    }
    text = parsed;
    return absl::OkStatus();
  }

  absl::Status Error(absl::string_view key, absl::string_view message) const {
    return absl::InvalidArgumentError(
        absl::StrCat(where_, ": \"", key, "\": ", message));
  }

  absl::Status Done() const {
    for (const auto field : fields_) {
      if (!asked_.contains(std::string(field.key))) {
        return Error({field.key.data(), field.key.size()}, "no such key");
      }
    }
    return absl::OkStatus();
  }

  const std::string& where() const { return where_; }

 private:
  std::string where_;
  object fields_;
  std::set<std::string> asked_;
};

absl::Status ParseWorker(Fields& top, ClusterSpec& cluster) {
  const std::optional<element> value = top.Find("worker");
  if (!value) return top.Error("worker", "is missing");
  BRAID_ASSIGN_OR_RETURN(
      Fields worker, Fields::Of(absl::StrCat(top.where(), ": worker"), *value));
  BRAID_RETURN_IF_ERROR(worker.Get("model", cluster.model));
  BRAID_RETURN_IF_ERROR(worker.Get("system", cluster.system));
  BRAID_RETURN_IF_ERROR(worker.Get("engine", cluster.engine));
  BRAID_RETURN_IF_ERROR(worker.Get("weights", cluster.weights));
  BRAID_RETURN_IF_ERROR(worker.Get("kv", cluster.kv));
  BRAID_RETURN_IF_ERROR(worker.Get("tp", 1, 64, cluster.tensor_parallel));
  return worker.Done();
}

absl::Status ParseNodes(Fields& top, ClusterSpec& cluster) {
  const std::optional<element> value = top.Find("nodes");
  simdjson::dom::array groups;
  if (!value || value->get(groups) != simdjson::SUCCESS) {
    return top.Error("nodes", "expected a list of groups of nodes");
  }
  uint32_t next_node = 0;
  for (const element group : groups) {
    BRAID_ASSIGN_OR_RETURN(
        Fields fields, Fields::Of(absl::StrCat(top.where(), ": nodes"), group));
    uint32_t count = 1, prefill = 0, decode = 0, both = 0;
    BRAID_RETURN_IF_ERROR(fields.Get("count", 1, kMaxWorkers, count));
    BRAID_RETURN_IF_ERROR(fields.Get("prefill", 0, kMaxWorkers, prefill));
    BRAID_RETURN_IF_ERROR(fields.Get("decode", 0, kMaxWorkers, decode));
    BRAID_RETURN_IF_ERROR(fields.Get("both", 0, kMaxWorkers, both));
    BRAID_RETURN_IF_ERROR(fields.Done());
    if (prefill + decode + both == 0) {
      return top.Error("nodes", "a group has no workers");
    }
    for (uint32_t node = 0; node < count; ++node, ++next_node) {
      const auto add = [&](uint32_t n, DeviceRole role) {
        cluster.workers.insert(cluster.workers.end(), n,
                               {.node = next_node, .role = role});
      };
      add(prefill, DeviceRole::kPrefill);
      add(decode, DeviceRole::kDecode);
      add(both, DeviceRole::kBoth);
      if (cluster.workers.size() > kMaxWorkers) {
        return top.Error("nodes",
                         absl::StrCat("more than ", kMaxWorkers, " workers"));
      }
    }
  }
  if (cluster.workers.empty()) return top.Error("nodes", "there are none");
  return absl::OkStatus();
}

absl::Status ParseLinks(Fields& top, ClusterSpec& cluster) {
  const std::optional<element> value = top.Find("links");
  if (!value) return absl::OkStatus();
  BRAID_ASSIGN_OR_RETURN(
      Fields links, Fields::Of(absl::StrCat(top.where(), ": links"), *value));
  double nvlink = cluster.links.nvlink / 1e9;
  double network = cluster.links.network / 1e9;
  double latency = cluster.links.latency * 1e6;
  BRAID_RETURN_IF_ERROR(links.Get("nvlink_gb_s", 0.001, 1e5, nvlink));
  BRAID_RETURN_IF_ERROR(links.Get("network_gb_s", 0.001, 1e5, network));
  BRAID_RETURN_IF_ERROR(links.Get("latency_us", 0, 1e7, latency));
  cluster.links = {nvlink * 1e9, network * 1e9, latency * 1e-6};
  return links.Done();
}

absl::Status ParseTargets(Fields& top, ClusterSpec& cluster) {
  const std::optional<element> value = top.Find("targets");
  if (!value) return absl::OkStatus();
  BRAID_ASSIGN_OR_RETURN(
      Fields targets,
      Fields::Of(absl::StrCat(top.where(), ": targets"), *value));
  double itl_ms = cluster.tpot_target * 1e3;
  BRAID_RETURN_IF_ERROR(targets.Get("ttft_s", 0.001, 1e5, cluster.ttft_target));
  BRAID_RETURN_IF_ERROR(targets.Get("itl_ms", 0.01, 1e6, itl_ms));
  cluster.tpot_target = itl_ms * 1e-3;
  return targets.Done();
}

absl::Status ParseStepSeconds(Fields& top, ClusterSpec& cluster) {
  const std::optional<element> value = top.Find("step_seconds");
  if (!value) return absl::OkStatus();
  BRAID_ASSIGN_OR_RETURN(
      Fields step,
      Fields::Of(absl::StrCat(top.where(), ": step_seconds"), *value));
  StepTimeModel::Prior prior{0, 0, 0, 0, 0, 0, -1};
  BRAID_RETURN_IF_ERROR(step.Get("base", 0, 10, prior.base));
  BRAID_RETURN_IF_ERROR(step.Get("chunk_token", 0, 10, prior.chunk_token));
  BRAID_RETURN_IF_ERROR(
      step.Get("chunk_attended", 0, 10, prior.chunk_attended));
  BRAID_RETURN_IF_ERROR(step.Get("decode_row", 0, 10, prior.decode_row));
  BRAID_RETURN_IF_ERROR(
      step.Get("decode_attended", 0, 10, prior.decode_attended));
  BRAID_RETURN_IF_ERROR(step.Get("stream_row", 0, 10, prior.stream_row));
  BRAID_RETURN_IF_ERROR(step.Done());
  if (!(prior.base > 0)) return step.Error("base", "must be greater than 0");
  cluster.step_seconds = prior;
  return absl::OkStatus();
}

absl::Status ParseStreams(Fields& top, ClusterSpec& cluster) {
  const std::optional<element> value = top.Find("parscale");
  if (!value) return absl::OkStatus();
  BRAID_ASSIGN_OR_RETURN(
      Fields fields,
      Fields::Of(absl::StrCat(top.where(), ": parscale"), *value));
  ClusterStreams& streams = cluster.streams;
  BRAID_RETURN_IF_ERROR(
      fields.Get("prefix_tokens", 0, 4096, streams.prefix_tokens));
  if (const std::optional<element> listed = fields.Find("gain")) {
    streams.gain.clear();
    simdjson::dom::array values;
    if (listed->get(values) == simdjson::SUCCESS) {
      for (const element item : values) {
        double gain = -1;
        if (item.get(gain) != simdjson::SUCCESS) gain = -1;
        streams.gain.push_back(gain);
      }
    }
    if (streams.gain.size() < 2 || streams.gain.size() > kMostStreams ||
        streams.gain[0] != 0 || !std::ranges::is_sorted(streams.gain)) {
      return fields.Error(
          "gain", absl::StrCat("expected 2 to ", kMostStreams,
                               " numbers, from 0 on, none less than the one "
                               "before"));
    }
  }
  return fields.Done();
}

absl::Status ParseSplit(Fields& top, ClusterSpec& cluster) {
  std::string split = "auto";
  BRAID_RETURN_IF_ERROR(top.Get("split", split));
  if (split == "auto") {
    cluster.split = SplitMode::kAuto;
  } else if (split == "on") {
    cluster.split = SplitMode::kOn;
  } else if (split == "off") {
    cluster.split = SplitMode::kOff;
  } else {
    return top.Error("split", "expected auto, on or off");
  }
  return absl::OkStatus();
}

absl::Status Check(Fields& top, const ClusterSpec& cluster) {
  BRAID_RETURN_IF_ERROR(top.Done());
  if (cluster.step_seconds) {
    if (cluster.kv_tokens == 0 || cluster.kv_bytes_per_token == 0) {
      return top.Error("step_seconds",
                       "needs \"kv_tokens\" and \"kv_bytes_per_token\" too");
    }
  } else if (cluster.model.empty() || cluster.system.empty()) {
    return top.Error("worker", "needs \"model\" and \"system\"");
  }
  return absl::OkStatus();
}

}  // namespace

uint32_t ClusterSpec::nodes() const {
  return workers.empty() ? 0 : workers.back().node + 1;
}

absl::StatusOr<ClusterSpec> ParseCluster(const std::string& where,
                                         absl::string_view json) {
  simdjson::dom::parser parser;
  element root;
  const auto error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": not JSON (", simdjson::error_message(error),
        "); it describes a cluster, as those of bench/clusters do"));
  }
  BRAID_ASSIGN_OR_RETURN(Fields top, Fields::Of(where, root));
  ClusterSpec cluster;
  BRAID_RETURN_IF_ERROR(top.Get("name", cluster.name));
  BRAID_RETURN_IF_ERROR(ParseWorker(top, cluster));
  BRAID_RETURN_IF_ERROR(ParseNodes(top, cluster));
  BRAID_RETURN_IF_ERROR(ParseLinks(top, cluster));
  BRAID_RETURN_IF_ERROR(ParseTargets(top, cluster));
  BRAID_RETURN_IF_ERROR(ParseStepSeconds(top, cluster));
  BRAID_RETURN_IF_ERROR(ParseStreams(top, cluster));
  BRAID_RETURN_IF_ERROR(ParseSplit(top, cluster));
  BRAID_RETURN_IF_ERROR(top.Get("kv_tokens", 1, 1e9, cluster.kv_tokens));
  BRAID_RETURN_IF_ERROR(
      top.Get("kv_bytes_per_token", 1, 1e9, cluster.kv_bytes_per_token));
  BRAID_RETURN_IF_ERROR(top.Get("block_tokens", 1, 4096, cluster.block_tokens));
  BRAID_RETURN_IF_ERROR(top.Get("max_context", 1, 1e8, cluster.max_context));
  BRAID_RETURN_IF_ERROR(
      top.Get("prefill_chunk", 1, 1e6, cluster.prefill_chunk));
  BRAID_RETURN_IF_ERROR(top.Get("max_rows", 2, 1e6, cluster.max_rows));
  BRAID_RETURN_IF_ERROR(top.Get("max_running", 1, 1e6, cluster.max_running));
  BRAID_RETURN_IF_ERROR(top.Get("max_queued", 1, 1e6, cluster.max_queued));
  BRAID_RETURN_IF_ERROR(
      top.Get("transfer_groups", 1, 1000, cluster.transfer_groups));
  BRAID_RETURN_IF_ERROR(Check(top, cluster));
  return cluster;
}

absl::StatusOr<ClusterSpec> ReadCluster(const std::string& path) {
  BRAID_ASSIGN_OR_RETURN(const std::string text,
                         ReadTextFile(path, kMaxFileBytes));
  BRAID_ASSIGN_OR_RETURN(ClusterSpec cluster, ParseCluster(path, text));
  return cluster;
}

absl::Status SetLayout(absl::string_view layout, ClusterSpec& cluster) {
  if (layout == "file") return absl::OkStatus();
  if (layout == "auto" || layout == "off") {
    cluster.split = layout == "auto" ? SplitMode::kAuto : SplitMode::kOff;
    for (ClusterWorker& worker : cluster.workers) {
      worker.role = DeviceRole::kBoth;
    }
    return absl::OkStatus();
  }
  const std::vector<absl::string_view> halves = absl::StrSplit(layout, 'P');
  uint32_t prefill = 0, decode = 0;
  if (halves.size() != 2 || !absl::EndsWith(halves[1], "D") ||
      !absl::SimpleAtoi(halves[0], &prefill) ||
      !absl::SimpleAtoi(halves[1].substr(0, halves[1].size() - 1), &decode) ||
      prefill == 0 || decode == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "layout \"", layout, "\": expected file, auto, off or such as 6P2D"));
  }
  const uint64_t all = cluster.workers.size();
  if (uint64_t{prefill} + decode != all) {
    return absl::InvalidArgumentError(
        absl::StrCat("layout ", layout, " is for ", prefill + decode,
                     " workers, but the cluster has ", all));
  }
  cluster.split = SplitMode::kOn;
  // Worker i of a walk that visits the nodes in turn; the first ones decode.
  std::vector<uint32_t> order(all);
  std::vector<uint32_t> rank(all), in_node(cluster.nodes());
  for (uint32_t i = 0; i < all; ++i) {
    order[i] = i;
    rank[i] = in_node[cluster.workers[i].node]++;
  }
  std::ranges::stable_sort(order, {}, [&](uint32_t i) { return rank[i]; });
  for (uint32_t i = 0; i < all; ++i) {
    cluster.workers[order[i]].role =
        i < decode ? DeviceRole::kDecode : DeviceRole::kPrefill;
  }
  return absl::OkStatus();
}

std::string LayoutOf(const ClusterSpec& cluster) {
  uint32_t prefill = 0, decode = 0;
  for (const ClusterWorker& worker : cluster.workers) {
    prefill += worker.role == DeviceRole::kPrefill;
    decode += worker.role == DeviceRole::kDecode;
  }
  const std::string roles =
      prefill + decode == 0 ? "" : absl::StrCat(prefill, "P", decode, "D");
  switch (cluster.split) {
    case SplitMode::kOff:
      return "off";
    case SplitMode::kOn:
      return roles;
    case SplitMode::kAuto:
      return roles.empty() ? "auto" : absl::StrCat("auto ", roles);
  }
  return roles;
}

}  // namespace braid
