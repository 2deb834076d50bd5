// A model on disk: configuration, weights, tokenizer data and chat template,
// from a GGUF file, a .safetensors file, or a directory with config.json,
// tokenizer.json and one or more safetensors shards.
//
// The weights are views into the mapped file; the ModelFile keeps it mapped.
// Immutable after Open, so any thread may read it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/mapped_file.h"
#include "model/model_config.h"
#include "model/parscale.h"
#include "model/tensor.h"
#include "model/tokenizer_spec.h"

namespace braid {

struct LayerWeights {
  Tensor attention_norm;  // [1, hidden]
  Tensor q, k, v;  // [heads*head_dim, hidden], [kv_heads*head_dim, hidden]
  Tensor q_bias, k_bias, v_bias;  // [1, ...] or empty
  Tensor q_norm, k_norm;          // [1, head_dim] (Qwen3) or empty
  Tensor o;                       // [hidden, heads*head_dim]
  Tensor ffn_norm;                // [1, hidden]
  Tensor gate, up;                // [ffn, hidden]
  Tensor down;                    // [hidden, ffn]
};

struct ModelWeights {
  Tensor embedding;  // [vocabulary, hidden]
  std::vector<LayerWeights> layers;
  Tensor output_norm;  // [1, hidden]
  Tensor output;       // [vocabulary, hidden]; == embedding when tied
};

class ModelFile final {
 public:
  // NOT_FOUND, INVALID_ARGUMENT (corrupt: what and at which offset) or
  // UNIMPLEMENTED (names the architecture, quantisation, RoPE scaling,
  // tokenizer or tensor that is not supported).
  static absl::StatusOr<std::unique_ptr<ModelFile>> Open(
      const std::string& path);
  ~ModelFile();

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  const TokenizerSpec& tokenizer() const { return tokenizer_; }
  // Jinja source; empty when the model has none.
  const std::string& chat_template() const { return chat_template_; }
  // Hash of configuration and weights: equal means the KV may be shared.
  uint64_t fingerprint() const { return fingerprint_; }
  // The streams that the file itself has weights for (Qwen2ParScale); null:
  // none.
  const ParscaleSet* parscale() const {
    return parscale_ ? &*parscale_ : nullptr;
  }

  // Drops the resident pages of the weights, which come back on a later read.
  // For after they were repacked.
  void ReleasePages() const;

  // What a reader (GGUF, safetensors) fills in.
  struct Parts {
    ModelConfig config;
    ModelWeights weights;
    TokenizerSpec tokenizer;
    std::string chat_template;
    uint64_t fingerprint = 0;
    std::optional<ParscaleSet> parscale;
    std::vector<std::unique_ptr<MappedFile>> files;
  };
  explicit ModelFile(Parts parts);

 private:
  ModelConfig config_;
  ModelWeights weights_;
  TokenizerSpec tokenizer_;
  std::string chat_template_;
  uint64_t fingerprint_;
  std::optional<ParscaleSet> parscale_;
  std::vector<std::unique_ptr<MappedFile>> files_;
};

}  // namespace braid
