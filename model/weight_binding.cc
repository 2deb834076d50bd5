#include "model/weight_binding.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace braid {

const WeightNames kGgufWeightNames = {
    .embedding = "token_embd",
    .output_norm = "output_norm",
    .output = "output",
    .layer_prefix = "blk.",
    .attention_norm = "attn_norm",
    .q = "attn_q",
    .k = "attn_k",
    .v = "attn_v",
    .q_norm = "attn_q_norm",
    .k_norm = "attn_k_norm",
    .o = "attn_output",
    .ffn_norm = "ffn_norm",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .down = "ffn_down",
};

const WeightNames kHuggingFaceWeightNames = {
    .embedding = "model.embed_tokens",
    .output_norm = "model.norm",
    .output = "lm_head",
    .layer_prefix = "model.layers.",
    .attention_norm = "input_layernorm",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .q_norm = "self_attn.q_norm",
    .k_norm = "self_attn.k_norm",
    .o = "self_attn.o_proj",
    .ffn_norm = "post_attention_layernorm",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .down = "mlp.down_proj",
};

namespace {

// Takes tensors out of the map, so that what is left over was not understood.
class Binder final {
 public:
  explicit Binder(NamedTensors tensors) : tensors_(std::move(tensors)) {}

  bool Has(const std::string& name) const { return tensors_.contains(name); }

  absl::Status Take(const std::string& name, int64_t rows, int64_t columns,
                    Tensor& place) {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the model has no tensor ", name, "; download or convert it again"));
    }
    const Tensor& tensor = it->second;
    if (tensor.rows != rows || tensor.columns != columns) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", name, " is [", tensor.rows, ", ", tensor.columns,
          "], the configuration needs [", rows, ", ", columns, "]"));
    }
    place = tensor;
    tensors_.erase(it);
    return absl::OkStatus();
  }

  absl::Status NothingLeft(const ModelConfig& config) const {
    if (tensors_.empty()) return absl::OkStatus();
    // The first by name, so that the message does not depend on hashing.
    const std::string* first = nullptr;
    for (const auto& [name, tensor] : tensors_) {
      if (first == nullptr || name < *first) first = &name;
    }
    return absl::UnimplementedError(absl::StrCat(
        "tensor ", *first, " (and ", tensors_.size() - 1,
        " more) has no place in a ", ToString(config.architecture), " model"));
  }

 private:
  NamedTensors tensors_;
};

absl::Status BindLayer(const ModelConfig& config, const WeightNames& names,
                       int32_t index, Binder& binder, LayerWeights& layer) {
  const int64_t hidden = config.hidden;
  const int64_t q_rows = int64_t{config.heads} * config.head_dim;
  const int64_t kv_rows = int64_t{config.kv_heads} * config.head_dim;
  const auto name = [&](const char* stem, const char* ending) {
    return absl::StrCat(names.layer_prefix, index, ".", stem, ending);
  };
  const auto take = [&](const char* stem, int64_t rows, int64_t columns,
                        Tensor& place) {
    return binder.Take(name(stem, ".weight"), rows, columns, place);
  };
  absl::Status status =
      take(names.attention_norm, 1, hidden, layer.attention_norm);
  status.Update(take(names.q, q_rows, hidden, layer.q));
  status.Update(take(names.k, kv_rows, hidden, layer.k));
  status.Update(take(names.v, kv_rows, hidden, layer.v));
  status.Update(take(names.o, hidden, q_rows, layer.o));
  status.Update(take(names.ffn_norm, 1, hidden, layer.ffn_norm));
  status.Update(take(names.gate, config.ffn, hidden, layer.gate));
  status.Update(take(names.up, config.ffn, hidden, layer.up));
  status.Update(take(names.down, hidden, config.ffn, layer.down));
  // Qwen2 always has the biases; Llama may (attention_bias).
  if (config.architecture == Architecture::kQwen2 ||
      binder.Has(name(names.q, ".bias"))) {
    const auto bias = [&](const char* stem, int64_t rows, Tensor& place) {
      return binder.Take(name(stem, ".bias"), 1, rows, place);
    };
    status.Update(bias(names.q, q_rows, layer.q_bias));
    status.Update(bias(names.k, kv_rows, layer.k_bias));
    status.Update(bias(names.v, kv_rows, layer.v_bias));
  }
  if (config.architecture == Architecture::kQwen3) {
    status.Update(take(names.q_norm, 1, config.head_dim, layer.q_norm));
    status.Update(take(names.k_norm, 1, config.head_dim, layer.k_norm));
  }
  return status;
}

}  // namespace

absl::StatusOr<ModelWeights> BindWeights(const ModelConfig& config,
                                         NamedTensors tensors,
                                         const WeightNames& names) {
  Binder binder(std::move(tensors));
  ModelWeights weights;
  const auto weight = [](const char* stem) {
    return absl::StrCat(stem, ".weight");
  };
  BRAID_RETURN_IF_ERROR(binder.Take(weight(names.embedding), config.vocabulary,
                                    config.hidden, weights.embedding));
  BRAID_RETURN_IF_ERROR(binder.Take(weight(names.output_norm), 1, config.hidden,
                                    weights.output_norm));
  weights.output = weights.embedding;
  if (!config.tied_embeddings) {
    BRAID_RETURN_IF_ERROR(binder.Take(weight(names.output), config.vocabulary,
                                      config.hidden, weights.output));
  }
  weights.layers.resize(static_cast<size_t>(config.layers));
  for (int32_t i = 0; i < config.layers; ++i) {
    BRAID_RETURN_IF_ERROR(BindLayer(config, names, i, binder,
                                    weights.layers[static_cast<size_t>(i)]));
  }
  BRAID_RETURN_IF_ERROR(binder.NothingLeft(config));
  return weights;
}

}  // namespace braid
