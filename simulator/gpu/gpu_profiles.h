// What simulator/profiles says: models, systems, measured kernel tables, links
// and the fitted habits of serving engines. Read once, whole (0.2 s).
//
// Thread safety: immutable after Read; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace braid::gpu {

enum class ServingEngine : uint8_t { kTrtLlm, kVllm, kSglang };
constexpr int kServingEngines = 3;
absl::string_view ToString(ServingEngine engine);  // as files spell it

// kFp8: one scale per tensor or channel; kFp8Block: one per 128 x 128.
enum class WeightFormat : uint8_t {
  kBf16,
  kFp8,
  kFp8Block,
  kNvfp4,
  kInt4,
  kMxfp4
};
enum class KvFormat : uint8_t { kBf16, kFp8 };

// A model, as far as the time of a step depends on it.
struct ModelShape {
  std::string name;
  int hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int ffn = 0, vocab = 0;
  int experts = 0, topk = 0, expert_ffn = 0, shared_ffn = 0;
  int dense_layers = 0;  // of a model with experts: layers without
  // Latent attention (MLA) when kv_lora > 0.
  int q_lora = 0, kv_lora = 0, rope = 0;
  int window = 0;  // of the layers that are not full
  // Linear attention when head_dim > 0.
  int linear_value_heads = 0, linear_key_heads = 0, linear_head_dim = 0;
  int full_every = 1;  // one layer of so many attends to everything
  int sparse = 0;      // a decode row attends to so many tokens at most
  // What is stored, whatever the served label says; empty: as labelled.
  std::string dense_format, expert_format;

  bool latent() const { return kv_lora > 0; }
  int expert_layers() const { return experts > 0 ? layers - dense_layers : 0; }
  int full_layers() const { return layers / full_every; }
};

struct GpuSystem {
  std::string name;
  double memory = 0, memory_bandwidth = 0;              // bytes, B/s
  double bf16_flops = 0, fp8_flops = 0, fp4_flops = 0;  // FLOP/s, dense
  double nvlink_bandwidth = 0, network_bandwidth = 0;   // B/s, one way
  int nvlink_domain = 0;                                // GPUs
  std::string tables;  // the system whose kernels were measured for it
  std::string links;
};

// How an engine departs from the sum of its kernels: fitted, per engine
// (profiles/engines.csv has the names and what they mean).
struct EngineHabits {
  double step_overhead = 0;   // s per step
  double layer_overhead = 0;  // s per layer and step
  // More of it in a step with prompts, which is launched, not replayed.
  double prompt_layer_overhead = 0;
  // Multipliers of table times.
  double gemm = 1, expert = 1, decode_attention = 1, prefill_attention = 1,
         latent_decode = 1, latent_prefill = 1, collective = 1, elementwise = 1;
  // More of them for weights with a scale per block on GPUs that have 4-bit
  // arithmetic: their own scaled kernels want other blocks.
  double block_weights = 1;
  double request_overhead = 0;         // s of every request before it is queued
  double latent_request_overhead = 0;  // more of it with latent attention
  // Requests differ in it by up to this share, either way: those whose answers
  // end with one step do not come back together.
  double request_jitter = 0;
  double request_spacing = 0;  // s the front end is busy with each
  // Decode steps that pass before the client has its first token.
  double first_token_steps = 0;
  double group_steps = 0;  // more of them where attention groups wait in turn
  // More of them in the dated sweeps of dense models with 1,024 tokens in and
  // out on less than a node, where prompts are held back to be run together.
  double bundle_steps = 0;
  // The undated sweeps see a first token later by so many times what its
  // prompt takes alone, whatever the length and the load.
  double undated_prompts = 0;
  // An engine that looks for new requests only every so many steps: with fewer
  // than kManyClients, and with more.
  double poll_steps_few = 0, poll_steps_many = 0;
  static constexpr uint32_t kManyClients = 16;
  double prefill = 1;           // multiplier of the time that prompt tokens add
  double prompt_budget = 8192;  // tokens in one step that has prompts
  double whole_prompts = 0;     // 1: a prompt that does not fit is not split
  double mixes = 1;   // 1: decode rows ride along with prompts; 0: they wait
  double kv_fp8 = 0;  // 1: 8-bit weights come with 8-bit KV
  // Answers of one length do not keep step for long on a real server: the
  // shortest ends after this share of the longest.
  double shortest_answer = 1;
  double reserved_answer = 1;  // share of an answer that needs memory at first
};

// What the published launch script of a sweep sets, where that is not the
// engine's default; "*" is any.
struct LaunchSetting {
  std::string engine, model, system, precision;
  std::string from, until;  // days, both of them included
  // Tokens in a step with prompts: so many, so many prompts of the test, and so
  // many for each of its clients.
  double tokens = 0, prompts = 0, per_client = 0;
  // How answers differ in length, when the test was told: as in EngineHabits.
  double shortest_answer = 0;  // 0: it was not

  double PromptBudget(uint32_t prompt_tokens, uint32_t clients) const {
    return tokens + prompts * prompt_tokens + per_client * clients;
  }
};

// One row per shape, one column per size; what was not measured is NaN.
struct MeasuredTable {
  struct Row {
    std::vector<std::string> keys;
    std::vector<double> seconds;
  };
  std::vector<double> sizes;
  std::vector<Row> rows;
};

struct LinkFit {
  double small_seconds = 0;  // of a small message
  double bandwidth = 0;      // B/s of a large one
};

class GpuProfiles final {
 public:
  // Where profiles are looked for when nobody says: $BRAID_PROFILES, or the
  // source tree this was built from.
  static std::string DefaultDirectory();

  // The error names `directory` and the remedy.
  static absl::StatusOr<GpuProfiles> Read(const std::string& directory);

  // The entry with the longest name that begins `served`, without its
  // organisation and in lower case: "nvidia/Llama-3.1-8B-Instruct-FP8" is
  // "llama-3.1-8b". Null when there is none.
  const ModelShape* FindModel(absl::string_view served) const;
  // "h200_sxm", or "h200". Null when there is none.
  const GpuSystem* FindSystem(absl::string_view name) const;

  const EngineHabits& habits(ServingEngine engine) const {
    return habits_[static_cast<int>(engine)];
  }
  // Of a sweep of `day`, 2025-12-31. Null when nothing is set.
  const LaunchSetting* FindLaunch(ServingEngine engine, absl::string_view model,
                                  absl::string_view system,
                                  absl::string_view precision,
                                  absl::string_view day) const;
  std::string ModelNames() const;  // for messages
  std::string SystemNames() const;

  MeasuredTable gemm, prefill_attention, decode_attention, mla_prefill,
      mla_decode, moe, collectives;
  // "h100_dgx/intra_node", as in send_recv.csv.
  absl::flat_hash_map<std::string, LinkFit> links;

 private:
  std::vector<ModelShape> models_;
  std::vector<GpuSystem> systems_;
  std::array<EngineHabits, kServingEngines> habits_;
  std::vector<LaunchSetting> launches_;
};

}  // namespace braid::gpu
