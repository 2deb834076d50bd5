#include "model/model_file.h"

#include <filesystem>
#include <span>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/fingerprint.h"
#include "model/gguf_model.h"
#include "model/huggingface_model.h"
#include "model/mapped_file.h"

namespace braid {
namespace {

// Everything that decides which KV a token leaves behind and which logits
// follow: not the name, not the tokenizer.
uint64_t FingerprintOf(const ModelConfig& config, const ModelWeights& weights) {
  Fingerprint print;
  const RopeConfig& rope = config.rope;
  print.AddIntegers(
      {static_cast<int64_t>(config.architecture), config.layers, config.hidden,
       config.heads, config.kv_heads, config.head_dim, config.ffn,
       config.vocabulary, static_cast<int64_t>(config.tied_embeddings),
       static_cast<int64_t>(rope.pairing), static_cast<int64_t>(rope.scaling),
       rope.original_context});
  print.AddFloats({config.rms_epsilon, rope.base, rope.factor,
                   rope.low_frequency_factor, rope.high_frequency_factor,
                   rope.beta_fast, rope.beta_slow, rope.attention_factor});
  print.Add(std::as_bytes(std::span(rope.frequency_divisors)));
  print.AddTensor(weights.embedding);
  for (const LayerWeights& layer : weights.layers) {
    for (const Tensor* tensor :
         {&layer.attention_norm, &layer.q, &layer.k, &layer.v, &layer.q_bias,
          &layer.k_bias, &layer.v_bias, &layer.q_norm, &layer.k_norm, &layer.o,
          &layer.ffn_norm, &layer.gate, &layer.up, &layer.down}) {
      print.AddTensor(*tensor);
    }
  }
  print.AddTensor(weights.output_norm);
  if (!config.tied_embeddings) print.AddTensor(weights.output);
  return print.hash();
}

absl::StatusOr<ModelFile::Parts> ReadParts(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error) ||
      absl::EndsWith(path, ".safetensors")) {
    return ReadHuggingFace(path);
  }
  BRAID_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file,
                         MappedFile::Open(path));
  BRAID_ASSIGN_OR_RETURN(ModelFile::Parts parts, ReadGguf(file->bytes()));
  parts.files.push_back(std::move(file));
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> ModelFile::Open(
    const std::string& path) {
  absl::StatusOr<Parts> parts = ReadParts(path);
  if (!parts.ok()) {
    return absl::Status(parts.status().code(),
                        absl::StrCat(path, ": ", parts.status().message()));
  }
  parts->fingerprint = FingerprintOf(parts->config, parts->weights);
  return std::make_unique<ModelFile>(*std::move(parts));
}

ModelFile::ModelFile(Parts parts)
    : config_(std::move(parts.config)),
      weights_(std::move(parts.weights)),
      tokenizer_(std::move(parts.tokenizer)),
      chat_template_(std::move(parts.chat_template)),
      fingerprint_(parts.fingerprint),
      parscale_(std::move(parts.parscale)),
      files_(std::move(parts.files)) {}

ModelFile::~ModelFile() = default;

void ModelFile::ReleasePages() const {
  for (const std::unique_ptr<MappedFile>& file : files_) file->ReleasePages();
}

}  // namespace braid
