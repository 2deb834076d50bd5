#include "model/gguf_model.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/gguf.h"
#include "model/gguf_tokenizer.h"
#include "model/weight_binding.h"

namespace braid {
namespace {

// Keys "<architecture>.<name>" as the fields' types.
class ArchitectureKeys final {
 public:
  ArchitectureKeys(const GgufFile& file, std::string architecture)
      : file_(file), prefix_(architecture + ".") {}

  bool Has(absl::string_view name) const {
    return file_.Has(absl::StrCat(prefix_, name));
  }
  absl::Status Get(absl::string_view name, int32_t& field,
                   std::optional<int64_t> fallback = {}) const {
    const std::string key = absl::StrCat(prefix_, name);
    BRAID_ASSIGN_OR_RETURN(const int64_t value, file_.Integer(key, fallback));
    if (!std::in_range<int32_t>(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("GGUF metadata ", key, " is ", value));
    }
    field = static_cast<int32_t>(value);
    return absl::OkStatus();
  }
  absl::Status Get(absl::string_view name, float& field,
                   std::optional<double> fallback = {}) const {
    BRAID_ASSIGN_OR_RETURN(const double value,
                           file_.Real(absl::StrCat(prefix_, name), fallback));
    field = static_cast<float>(value);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> String(absl::string_view name,
                                     std::string fallback) const {
    return file_.String(absl::StrCat(prefix_, name), std::move(fallback));
  }

 private:
  const GgufFile& file_;
  const std::string prefix_;
};

absl::StatusOr<Architecture> ReadArchitecture(const std::string& name) {
  if (name == "llama") return Architecture::kLlama;
  if (name == "qwen2") return Architecture::kQwen2;
  if (name == "qwen3") return Architecture::kQwen3;
  return absl::UnimplementedError(absl::StrCat(
      "architecture ", name, " is not supported; llama, qwen2 and qwen3 are"));
}

absl::Status ReadShape(const ArchitectureKeys& keys, ModelConfig& config) {
  BRAID_RETURN_IF_ERROR(keys.Get("block_count", config.layers));
  BRAID_RETURN_IF_ERROR(keys.Get("context_length", config.context));
  BRAID_RETURN_IF_ERROR(keys.Get("embedding_length", config.hidden));
  BRAID_RETURN_IF_ERROR(keys.Get("feed_forward_length", config.ffn));
  BRAID_RETURN_IF_ERROR(keys.Get("attention.head_count", config.heads));
  BRAID_RETURN_IF_ERROR(
      keys.Get("attention.head_count_kv", config.kv_heads, config.heads));
  BRAID_RETURN_IF_ERROR(
      keys.Get("attention.layer_norm_rms_epsilon", config.rms_epsilon));
  const int32_t even_share =
      config.heads > 0 ? config.hidden / config.heads : 0;
  BRAID_RETURN_IF_ERROR(
      keys.Get("attention.key_length", config.head_dim, even_share));
  int32_t value_length = 0, rotated = 0;
  BRAID_RETURN_IF_ERROR(
      keys.Get("attention.value_length", value_length, config.head_dim));
  BRAID_RETURN_IF_ERROR(
      keys.Get("rope.dimension_count", rotated, config.head_dim));
  if (value_length != config.head_dim || rotated != config.head_dim) {
    return absl::UnimplementedError(absl::StrCat(
        "heads of ", config.head_dim, " with values of ", value_length,
        " and RoPE over ", rotated, " are not supported; all must be equal"));
  }
  return absl::OkStatus();
}

// Features that change what is computed and that Braid does not have.
absl::Status RefuseUnsupported(const ArchitectureKeys& keys,
                               const ModelConfig& config) {
  int32_t experts = 0, window = 0;
  BRAID_RETURN_IF_ERROR(keys.Get("expert_count", experts, 0));
  if (experts > 0) {
    return absl::UnimplementedError(
        absl::StrCat("a mixture of ", experts,
                     " experts is not supported; dense models are"));
  }
  BRAID_RETURN_IF_ERROR(keys.Get("attention.sliding_window", window, 0));
  if (window > 0 && window < config.context) {
    return absl::UnimplementedError(absl::StrCat(
        "sliding-window attention over ", window, " of ", config.context,
        " tokens is not supported; full attention is"));
  }
  return absl::OkStatus();
}

absl::Status ReadRope(const ArchitectureKeys& keys, RopeConfig& rope) {
  BRAID_RETURN_IF_ERROR(keys.Get("rope.freq_base", rope.base, 10000.0));
  // Files from before rope.scaling.type have scale_linear alone.
  BRAID_ASSIGN_OR_RETURN(
      const std::string type,
      keys.String("rope.scaling.type",
                  keys.Has("rope.scale_linear") ? "linear" : "none"));
  if (type == "none") return absl::OkStatus();
  if (type != "linear" && type != "yarn") {
    return absl::UnimplementedError(
        absl::StrCat("RoPE scaling ", type,
                     " is not supported; linear, yarn and llama3 "
                     "(rope_freqs) are"));
  }
  BRAID_RETURN_IF_ERROR(keys.Get(keys.Has("rope.scaling.factor")
                                     ? "rope.scaling.factor"
                                     : "rope.scale_linear",
                                 rope.factor, 1.0));
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    return absl::OkStatus();
  }
  rope.scaling = RopeScaling::kYarn;
  int32_t original = 0;
  BRAID_RETURN_IF_ERROR(
      keys.Get("rope.scaling.original_context_length", original));
  rope.original_context = original;
  BRAID_RETURN_IF_ERROR(
      keys.Get("rope.scaling.yarn_beta_fast", rope.beta_fast, 32.0));
  BRAID_RETURN_IF_ERROR(
      keys.Get("rope.scaling.yarn_beta_slow", rope.beta_slow, 1.0));
  // A multiplier of the default here, the whole factor in config.json.
  float multiplier = 1;
  BRAID_RETURN_IF_ERROR(keys.Get("rope.scaling.attn_factor", multiplier, 1.0));
  if (multiplier != 1) {
    RopeConfig by_default = rope;
    rope.attention_factor = multiplier * MakeRopeTable(by_default, 2).magnitude;
  }
  for (const char* name :
       {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor",
        "rope.scaling.yarn_log_multiplier"}) {
    if (keys.Has(name)) {
      return absl::UnimplementedError(
          absl::StrCat("YaRN parameter ", name, " is not supported"));
    }
  }
  return absl::OkStatus();
}

// Llama 3 files carry their frequency scaling as a tensor of divisors.
absl::Status TakeRopeFrequencies(NamedTensors& tensors, ModelConfig& config) {
  const auto it = tensors.find("rope_freqs.weight");
  if (it == tensors.end()) return absl::OkStatus();
  const Tensor& divisors = it->second;
  if (divisors.rows != 1 || divisors.columns != config.head_dim / 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor rope_freqs.weight is [", divisors.rows, ", ",
                     divisors.columns, "] for heads of ", config.head_dim));
  }
  config.rope.frequency_divisors.resize(static_cast<size_t>(divisors.columns));
  DequantizeRow(divisors.dtype, divisors.data, divisors.columns,
                config.rope.frequency_divisors.data());
  tensors.erase(it);
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ReadConfig(const GgufFile& file) {
  BRAID_ASSIGN_OR_RETURN(const std::string name,
                         file.String("general.architecture"));
  ModelConfig config;
  BRAID_ASSIGN_OR_RETURN(config.architecture, ReadArchitecture(name));
  BRAID_ASSIGN_OR_RETURN(config.name, file.String("general.name", ""));
  const ArchitectureKeys keys(file, name);
  BRAID_RETURN_IF_ERROR(ReadShape(keys, config));
  BRAID_RETURN_IF_ERROR(RefuseUnsupported(keys, config));
  BRAID_RETURN_IF_ERROR(ReadRope(keys, config.rope));
  config.rope.pairing = config.architecture == Architecture::kLlama
                            ? RopePairing::kAdjacent
                            : RopePairing::kHalves;
  return config;
}

}  // namespace

absl::StatusOr<ModelFile::Parts> ReadGguf(std::span<const std::byte> bytes) {
  BRAID_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Parse(bytes));
  ModelFile::Parts parts;
  BRAID_ASSIGN_OR_RETURN(parts.config, ReadConfig(file));
  ModelConfig& config = parts.config;
  NamedTensors tensors;
  for (const GgufTensor& entry : file.tensors()) {
    tensors.emplace(entry.name, entry.tensor);
  }
  const auto embedding = tensors.find("token_embd.weight");
  if (embedding == tensors.end() || embedding->second.rows > INT32_MAX) {
    return absl::InvalidArgumentError(
        "the GGUF file has no token_embd.weight; download the model again");
  }
  config.vocabulary = static_cast<int32_t>(embedding->second.rows);
  config.tied_embeddings = !tensors.contains("output.weight");
  BRAID_RETURN_IF_ERROR(TakeRopeFrequencies(tensors, config));
  BRAID_RETURN_IF_ERROR(Validate(config));
  BRAID_ASSIGN_OR_RETURN(
      parts.weights, BindWeights(config, std::move(tensors), kGgufWeightNames));
  BRAID_ASSIGN_OR_RETURN(parts.tokenizer,
                         ReadGgufTokenizer(file, config.vocabulary));
  BRAID_ASSIGN_OR_RETURN(parts.chat_template,
                         file.String("tokenizer.chat_template", ""));
  return parts;
}

}  // namespace braid
