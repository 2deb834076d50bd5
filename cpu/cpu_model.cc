#include <utility>

#include "base/status_macros.h"
#include "cpu/cpu_runner.h"
#include "cpu/packed_model.h"

namespace braid::cpu {

absl::StatusOr<std::shared_ptr<const CpuModel>> CpuModel::Load(
    const ModelFile& file, Isa isa, int threads,
    std::span<const ParscaleSet> sets) {
  BRAID_ASSIGN_OR_RETURN(
      std::shared_ptr<const CpuModel> model,
      Pack(file.config(), file.weights(), isa, threads, sets));
  file.ReleasePages();
  return model;
}

absl::StatusOr<std::shared_ptr<const CpuModel>> CpuModel::Pack(
    const ModelConfig& config, const ModelWeights& weights, Isa isa,
    int threads, std::span<const ParscaleSet> sets) {
  BRAID_ASSIGN_OR_RETURN(std::unique_ptr<const PackedModel> packed,
                         PackModel(config, weights, isa, threads, sets));
  return std::shared_ptr<const CpuModel>(new CpuModel(std::move(packed)));
}

CpuModel::CpuModel(std::unique_ptr<const PackedModel> packed)
    : packed_(std::move(packed)) {}
CpuModel::~CpuModel() = default;

KvLayout CpuModel::MakeKvLayout(uint32_t block_tokens) const {
  const ModelConfig& config = packed_->config;
  return {.layers = static_cast<uint32_t>(config.layers),
          .kv_heads = static_cast<uint32_t>(config.kv_heads),
          .head_dim = static_cast<uint32_t>(config.head_dim),
          .block_tokens = block_tokens};
}
size_t CpuModel::weight_bytes() const { return packed_->weight_bytes; }
Isa CpuModel::isa() const { return packed_->isa; }

}  // namespace braid::cpu
