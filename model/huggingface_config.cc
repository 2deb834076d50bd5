#include "model/huggingface_config.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/json_fields.h"
#include "model/parscale.h"
#include "model/parscale_tensors.h"

namespace braid {
namespace {

constexpr char kFile[] = "config.json";

// The class of the model, or its type where there is no class.
absl::StatusOr<std::string> ReadName(const JsonFields& fields) {
  if (const JsonValue* list = fields.Find("architectures");
      list != nullptr && list->array() != nullptr &&
      list->array()->size() == 1 && list->array()->front().string()) {
    return *list->array()->front().string();
  }
  return fields.String("model_type");
}

bool IsParscale(const std::string& name) {
  return name == "Qwen2ParScaleForCausalLM" || name == "qwen2_parscale";
}

absl::StatusOr<Architecture> ReadArchitecture(const JsonFields& fields) {
  BRAID_ASSIGN_OR_RETURN(const std::string name, ReadName(fields));
  if (name == "LlamaForCausalLM" || name == "MistralForCausalLM" ||
      name == "llama" || name == "mistral") {
    return Architecture::kLlama;
  }
  if (name == "Qwen2ForCausalLM" || name == "qwen2" || IsParscale(name)) {
    return Architecture::kQwen2;
  }
  if (name == "Qwen3ForCausalLM" || name == "qwen3") {
    return Architecture::kQwen3;
  }
  return absl::UnimplementedError(
      absl::StrCat("architecture ", name,
                   " is not supported; LlamaForCausalLM, MistralForCausalLM, "
                   "Qwen2ForCausalLM, Qwen2ParScaleForCausalLM and "
                   "Qwen3ForCausalLM are"));
}

absl::Status ReadLlama3(const JsonFields& scaling, RopeConfig& rope) {
  BRAID_RETURN_IF_ERROR(
      scaling.Get("low_freq_factor", rope.low_frequency_factor));
  BRAID_RETURN_IF_ERROR(
      scaling.Get("high_freq_factor", rope.high_frequency_factor));
  BRAID_ASSIGN_OR_RETURN(rope.original_context,
                         scaling.Integer("original_max_position_embeddings"));
  return absl::OkStatus();
}

absl::Status ReadYarn(const JsonFields& scaling, RopeConfig& rope) {
  BRAID_RETURN_IF_ERROR(scaling.Get("beta_fast", rope.beta_fast, 32.0));
  BRAID_RETURN_IF_ERROR(scaling.Get("beta_slow", rope.beta_slow, 1.0));
  BRAID_RETURN_IF_ERROR(
      scaling.Get("attention_factor", rope.attention_factor, 0.0));
  BRAID_ASSIGN_OR_RETURN(rope.original_context,
                         scaling.Integer("original_max_position_embeddings"));
  BRAID_ASSIGN_OR_RETURN(const bool truncate,
                         scaling.Boolean("truncate", true));
  if (!truncate || scaling.Has("mscale") || scaling.Has("mscale_all_dim")) {
    return absl::UnimplementedError(
        "YaRN with mscale, mscale_all_dim or truncate = false is not "
        "supported");
  }
  return absl::OkStatus();
}

// transformers 5 writes "rope_parameters" with the base inside; before it was
// "rope_scaling", or null, with "rope_theta" beside it.
absl::Status ReadRope(const JsonFields& fields, RopeConfig& rope) {
  const JsonValue none{JsonValue::Object{}};
  const JsonValue* found = fields.Find("rope_parameters");
  if (found == nullptr) found = fields.Find("rope_scaling");
  const JsonFields scaling(found != nullptr ? *found : none,
                           absl::StrCat(kFile, ", RoPE"));
  BRAID_ASSIGN_OR_RETURN(const double outer_base,
                         fields.Real("rope_theta", 10000.0));
  BRAID_RETURN_IF_ERROR(scaling.Get("rope_theta", rope.base, outer_base));
  double rotated_share = 1;
  for (const JsonFields* place : {&fields, &scaling}) {
    BRAID_ASSIGN_OR_RETURN(rotated_share,
                           place->Real("partial_rotary_factor", 1.0));
    if (rotated_share != 1) {
      return absl::UnimplementedError(
          absl::StrCat("RoPE over a part of a head (partial_rotary_factor ",
                       rotated_share, ") is not supported"));
    }
  }
  BRAID_ASSIGN_OR_RETURN(const std::string old_type,
                         scaling.String("type", "default"));
  BRAID_ASSIGN_OR_RETURN(const std::string type,
                         scaling.String("rope_type", old_type));
  if (type == "default") return absl::OkStatus();
  if (type != "linear" && type != "llama3" && type != "yarn") {
    return absl::UnimplementedError(
        absl::StrCat("RoPE scaling ", type,
                     " is not supported; linear, llama3 and yarn are"));
  }
  BRAID_RETURN_IF_ERROR(scaling.Get("factor", rope.factor));
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    return absl::OkStatus();
  }
  rope.scaling = type == "yarn" ? RopeScaling::kYarn : RopeScaling::kLlama3;
  return type == "yarn" ? ReadYarn(scaling, rope) : ReadLlama3(scaling, rope);
}

absl::Status ReadShape(const JsonFields& fields, ModelConfig& config) {
  BRAID_RETURN_IF_ERROR(fields.Get("num_hidden_layers", config.layers));
  BRAID_RETURN_IF_ERROR(fields.Get("hidden_size", config.hidden));
  BRAID_RETURN_IF_ERROR(fields.Get("num_attention_heads", config.heads));
  BRAID_RETURN_IF_ERROR(
      fields.Get("num_key_value_heads", config.kv_heads, config.heads));
  const int64_t even_share =
      config.heads > 0 ? config.hidden / config.heads : 0;
  // Qwen3's head size does not follow from the others; 128 is its default.
  BRAID_RETURN_IF_ERROR(fields.Get(
      "head_dim", config.head_dim,
      config.architecture == Architecture::kQwen3 ? 128 : even_share));
  BRAID_RETURN_IF_ERROR(fields.Get("intermediate_size", config.ffn));
  BRAID_RETURN_IF_ERROR(fields.Get("vocab_size", config.vocabulary));
  BRAID_RETURN_IF_ERROR(fields.Get("max_position_embeddings", config.context));
  return fields.Get("rms_norm_eps", config.rms_epsilon, 1e-6);
}

absl::Status RefuseUnsupported(const JsonFields& fields,
                               const ModelConfig& config) {
  BRAID_ASSIGN_OR_RETURN(const std::string activation,
                         fields.String("hidden_act", "silu"));
  if (activation != "silu") {
    return absl::UnimplementedError(
        absl::StrCat("activation ", activation, " is not supported; silu is"));
  }
  if (fields.Has("quantization_config")) {
    return absl::UnimplementedError(
        "quantised safetensors (quantization_config) are not supported; use "
        "the original weights or a GGUF file");
  }
  // Mistral has a window or null; Qwen has one that is used or not.
  BRAID_ASSIGN_OR_RETURN(
      const bool used,
      fields.Boolean("use_sliding_window",
                     config.architecture == Architecture::kLlama));
  BRAID_ASSIGN_OR_RETURN(const int64_t window,
                         fields.Integer("sliding_window", config.context));
  if (used && window < config.context) {
    return absl::UnimplementedError(absl::StrCat(
        "sliding-window attention over ", window, " of ", config.context,
        " tokens is not supported; full attention is"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadHuggingFaceConfig(const JsonValue& json,
                                                  bool has_output) {
  const JsonFields fields(json, kFile);
  ModelConfig config;
  BRAID_ASSIGN_OR_RETURN(config.architecture, ReadArchitecture(fields));
  BRAID_ASSIGN_OR_RETURN(config.name, fields.String("_name_or_path", ""));
  BRAID_RETURN_IF_ERROR(ReadShape(fields, config));
  BRAID_RETURN_IF_ERROR(RefuseUnsupported(fields, config));
  BRAID_RETURN_IF_ERROR(ReadRope(fields, config.rope));
  BRAID_ASSIGN_OR_RETURN(config.tied_embeddings,
                         fields.Boolean("tie_word_embeddings", !has_output));
  BRAID_RETURN_IF_ERROR(Validate(config));
  return config;
}

absl::StatusOr<std::optional<ParscaleFields>> ReadParscaleFields(
    const JsonValue& json) {
  const JsonFields fields(json, kFile);
  BRAID_ASSIGN_OR_RETURN(const std::string name, ReadName(fields));
  if (!IsParscale(name)) return std::nullopt;
  ParscaleFields parscale;
  BRAID_RETURN_IF_ERROR(fields.Get("parscale_n", parscale.streams));
  BRAID_RETURN_IF_ERROR(
      CheckField("parscale_n", parscale.streams, 1, kMostStreams));
  if (parscale.streams == 1) return std::nullopt;
  BRAID_RETURN_IF_ERROR(
      fields.Get("parscale_n_tokens", parscale.prefix_tokens));
  BRAID_RETURN_IF_ERROR(CheckField("parscale_n_tokens", parscale.prefix_tokens,
                                   1, kMaxPrefixTokens));
  BRAID_RETURN_IF_ERROR(fields.Get("parscale_attn_smooth", parscale.smoothing));
  BRAID_RETURN_IF_ERROR(
      CheckField("parscale_attn_smooth", parscale.smoothing, 0, 1));
  return parscale;
}

absl::StatusOr<std::vector<TokenId>> ReadEosIds(const JsonValue& json,
                                                const char* where) {
  const JsonFields fields(json, where);
  std::vector<TokenId> ids;
  const JsonValue* value = fields.Find("eos_token_id");
  if (value == nullptr) return ids;
  JsonValue::Array one = {*value};
  for (const JsonValue& id : value->array() ? *value->array() : one) {
    if (id.integer() == nullptr || !std::in_range<TokenId>(*id.integer())) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": \"eos_token_id\" is not a token id"));
    }
    ids.push_back(static_cast<TokenId>(*id.integer()));
  }
  return ids;
}

}  // namespace braid
