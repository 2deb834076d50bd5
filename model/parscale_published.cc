#include "model/parscale_published.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/parscale_tensors.h"

namespace braid {
namespace {

// Adds one layer of prefix_k or prefix_v, [streams, kv_heads, tokens,
// head_dim], to those of each stream.
absl::Status TakeLayer(const ParscaleFields& fields, const ModelConfig& config,
                       const std::string& name, SafetensorsFile& file,
                       std::vector<std::vector<Tensor>>& prefixes) {
  BRAID_ASSIGN_OR_RETURN(const Tensor all,
                         TakeFinite(file, name,
                                    {fields.streams, config.kv_heads,
                                     fields.prefix_tokens, config.head_dim}));
  const int64_t rows = int64_t{config.kv_heads} * fields.prefix_tokens;
  for (int64_t s = 0; s < fields.streams; ++s) {
    prefixes[static_cast<size_t>(s)].push_back(RowsOf(all, s * rows, rows));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ParscaleSet> TakePublishedStreams(const ParscaleFields& fields,
                                                 const ModelConfig& config,
                                                 const std::string& name,
                                                 SafetensorsFile& file) {
  ParscaleSet set;
  set.kind = ParscaleKind::kPublished;
  set.name = name;
  set.streams = fields.streams;
  set.prefix_tokens = fields.prefix_tokens;
  set.smoothing = fields.smoothing;
  ParscaleTensors tensors;
  tensors.prefix_k.resize(static_cast<size_t>(fields.streams));
  tensors.prefix_v.resize(static_cast<size_t>(fields.streams));
  for (int32_t l = 0; l < config.layers; ++l) {
    const std::string attention =
        absl::StrCat("model.layers.", l, ".self_attn.");
    BRAID_RETURN_IF_ERROR(TakeLayer(fields, config, attention + "prefix_k",
                                    file, tensors.prefix_k));
    BRAID_RETURN_IF_ERROR(TakeLayer(fields, config, attention + "prefix_v",
                                    file, tensors.prefix_v));
  }
  static constexpr const char* kAggregator[] = {
      "model.aggregate_layer.0.weight", "model.aggregate_layer.0.bias",
      "model.aggregate_layer.2.weight", "model.aggregate_layer.2.bias"};
  BRAID_RETURN_IF_ERROR(TakeAggregator(file, kAggregator, fields.streams,
                                       config.hidden, tensors));
  FillParscaleSet(tensors, RopePairing::kHalves, set);
  return set;
}

}  // namespace braid
