#include "model/parscale.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/huggingface_model.h"
#include "model/model_file.h"

namespace braid {
namespace {

bool Equal(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.rows == b.rows && a.columns == b.columns &&
         a.empty() == b.empty() &&
         (a.empty() || std::memcmp(a.data, b.data, a.bytes()) == 0);
}

absl::Status Differs(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(what,
                   " differs from that of the model served: its streams were "
                   "trained on other weights; serve it as a model of its own"));
}

// What a set may not change, for its streams would compute something else.
absl::Status CompareConfigs(const ModelConfig& set, const ModelConfig& base) {
  const RopeConfig &rope = set.rope, &base_rope = base.rope;
  const std::pair<const char*, bool> fields[] = {
      {"the architecture", set.architecture == base.architecture},
      {"num_hidden_layers", set.layers == base.layers},
      {"hidden_size", set.hidden == base.hidden},
      {"num_attention_heads", set.heads == base.heads},
      {"num_key_value_heads", set.kv_heads == base.kv_heads},
      {"head_dim", set.head_dim == base.head_dim},
      {"intermediate_size", set.ffn == base.ffn},
      {"vocab_size", set.vocabulary == base.vocabulary},
      {"rms_norm_eps", set.rms_epsilon == base.rms_epsilon},
      {"tie_word_embeddings", set.tied_embeddings == base.tied_embeddings},
      {"rope_theta", rope.base == base_rope.base},
      {"the layout of RoPE", rope.pairing == base_rope.pairing},
      {"rope_scaling",
       rope.scaling == base_rope.scaling && rope.factor == base_rope.factor &&
           rope.low_frequency_factor == base_rope.low_frequency_factor &&
           rope.high_frequency_factor == base_rope.high_frequency_factor &&
           rope.original_context == base_rope.original_context &&
           rope.beta_fast == base_rope.beta_fast &&
           rope.beta_slow == base_rope.beta_slow &&
           rope.attention_factor == base_rope.attention_factor &&
           rope.frequency_divisors == base_rope.frequency_divisors},
  };
  for (const auto& [name, equal] : fields) {
    if (!equal) return Differs(name);
  }
  return absl::OkStatus();
}

absl::Status CompareWeights(const ModelWeights& set, const ModelWeights& base) {
  if (!Equal(set.embedding, base.embedding)) return Differs("the embedding");
  for (size_t l = 0; l < set.layers.size(); ++l) {
    const LayerWeights &a = set.layers[l], &b = base.layers[l];
    const struct {
      const char* name;
      const Tensor &set, &base;
    } tensors[] = {
        {"attention norm", a.attention_norm, b.attention_norm},
        {"q", a.q, b.q},
        {"k", a.k, b.k},
        {"v", a.v, b.v},
        {"q bias", a.q_bias, b.q_bias},
        {"k bias", a.k_bias, b.k_bias},
        {"v bias", a.v_bias, b.v_bias},
        {"q norm", a.q_norm, b.q_norm},
        {"k norm", a.k_norm, b.k_norm},
        {"o", a.o, b.o},
        {"ffn norm", a.ffn_norm, b.ffn_norm},
        {"gate", a.gate, b.gate},
        {"up", a.up, b.up},
        {"down", a.down, b.down},
    };
    for (const auto& tensor : tensors) {
      if (Equal(tensor.set, tensor.base)) continue;
      return Differs(absl::StrCat("tensor ", tensor.name, " of layer ", l));
    }
  }
  if (!Equal(set.output_norm, base.output_norm)) {
    return Differs("the output norm");
  }
  if (!Equal(set.output, base.output)) return Differs("the output matrix");
  return absl::OkStatus();
}

// Everything but `path` in messages.
absl::StatusOr<ParscaleSet> LoadSet(const std::string& path,
                                    const ModelFile& base) {
  BRAID_ASSIGN_OR_RETURN(ModelFile::Parts parts, ReadHuggingFaceWeights(path));
  if (!parts.parscale) {
    return absl::InvalidArgumentError(
        "a plain model without streams; a set of streams is a "
        "Qwen2ParScaleForCausalLM folder with parscale_n of 2 or more");
  }
  BRAID_RETURN_IF_ERROR(CompareConfigs(parts.config, base.config()));
  BRAID_RETURN_IF_ERROR(CompareWeights(parts.weights, base.weights()));
  return *std::move(parts.parscale);
}

}  // namespace

const char* ToString(ParscaleKind kind) {
  return kind == ParscaleKind::kNested ? "nested" : "published";
}

absl::StatusOr<ParscaleSet> LoadParscaleSet(const std::string& path,
                                            const ModelFile& base) {
  absl::StatusOr<ParscaleSet> set = LoadSet(path, base);
  if (!set.ok()) {
    return absl::Status(set.status().code(),
                        absl::StrCat(path, ": ", set.status().message()));
  }
  return set;
}

}  // namespace braid
