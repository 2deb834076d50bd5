// The machines that a workload is replayed on, as a JSON file describes them:
//
//   {
//     "name": "16 x H200, Qwen3-32B, TP2",
//     "worker": {"model": "Qwen/Qwen3-32B", "system": "h200_sxm",
//                "engine": "vllm", "weights": "bf16", "kv": "bf16", "tp": 2},
//     "nodes": [{"count": 2, "both": 4}],
//     "split": "auto",
//     "links": {"nvlink_gb_s": 450, "network_gb_s": 50, "latency_us": 30},
//     "targets": {"ttft_s": 2, "itl_ms": 25}
//   }
//
// "nodes": groups of `count` equal nodes; "prefill", "decode" and "both" say
// how many workers of each role one of them has. A worker is `tp` GPUs that
// work as one device with one pool of KV.
//
// Optional, with what they are otherwise:
//   "kv_tokens"       of one worker; what its memory holds beside the weights
//   "block_tokens"    16, as Braid serves; larger blocks replay faster
//   "max_context"     262,144 tokens
//   "prefill_chunk"   8,192 tokens, the most prompt tokens of a step
//   "max_rows"        16,384 rows of a step (prompt tokens and requests)
//   "max_running"     512 requests per worker
//   "max_queued"      4,096 requests of the cluster
//   "transfer_groups" 16: groups of layers in which a prompt's last chunk
//                     leaves
//   "step_seconds"    {"base", "chunk_token", "chunk_attended", "decode_row",
//                     "decode_attended", "stream_row"}: a closed form in place
//                     of the tables, with "kv_bytes_per_token" and "kv_tokens";
//                     a stream's row costs a decode row unless it says more
//   "parscale"        {"prefix_tokens": 16, "gain": [0, 0.037, 0.043, 0.045]}:
//                     weights that requests may have elastic streams of; gain
//                     in nats per token, by streams. Used with --parscale auto
//
// Whatever else a file says is refused: a misspelt key is not a default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scheduler/split.h"
#include "scheduler/step_time_model.h"
#include "scheduler/stream_terms.h"

namespace braid {

struct ClusterWorker {
  uint32_t node = 0;
  DeviceRole role = DeviceRole::kBoth;
};

struct ClusterLinks {
  // Bytes per second of one GPU, one way.
  double nvlink = 450e9, network = 50e9;
  double latency = 30e-6;  // seconds, before a hand-over's first byte
};

// A nested PARSCALE set. The gain is that of the adapter for the default model
// (model/adapters), in contexts beyond 512 tokens: none was trained for models
// of GPUs.
struct ClusterStreams {
  StreamMode mode = StreamMode::kOff;  // of every request
  uint32_t prefix_tokens = 16;         // that each row of a stream attends to
  std::vector<double> gain = {0, 0.0371, 0.04307, 0.04506};

  uint32_t most() const { return static_cast<uint32_t>(gain.size()); }
};

struct ClusterSpec {
  std::string name;
  // As the tables call them.
  std::string model, system, engine = "vllm", weights = "bf16", kv = "bf16";
  uint32_t tensor_parallel = 1;
  std::vector<ClusterWorker> workers;
  SplitMode split = SplitMode::kAuto;
  ClusterLinks links;
  double ttft_target = 2, tpot_target = 0.025;  // seconds

  uint64_t kv_tokens = 0;           // of one worker; 0: what the tables say
  uint64_t kv_bytes_per_token = 0;  // of one worker; 0: what the tables say
  uint32_t block_tokens = 16;
  uint32_t max_context = 262'144;
  uint32_t prefill_chunk = 8192;
  uint32_t max_rows = 16'384;
  uint32_t max_running = 512;
  uint32_t max_queued = 4096;
  uint32_t transfer_groups = 16;
  std::optional<StepTimeModel::Prior> step_seconds;
  ClusterStreams streams;

  uint32_t nodes() const;
  uint32_t gpus() const {
    return static_cast<uint32_t>(workers.size()) * tensor_parallel;
  }
};

// `where` names the text in errors.
absl::StatusOr<ClusterSpec> ParseCluster(const std::string& where,
                                         absl::string_view json);
absl::StatusOr<ClusterSpec> ReadCluster(const std::string& path);

// Gives the workers other roles: "auto" (both, --split auto), "off" (both,
// --split off) or "6P2D" (static roles, --split on), shared out evenly over the
// nodes. "file" changes nothing.
absl::Status SetLayout(absl::string_view layout, ClusterSpec& cluster);
// Such a string for it: "6P2D", "off", "auto", "auto 6P2D".
std::string LayoutOf(const ClusterSpec& cluster);

}  // namespace braid
