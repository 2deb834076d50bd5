#include "simulator/gpu/served_model.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "simulator/gpu/roofline.h"

namespace braid::gpu {
namespace {

// What engines are told to use of the memory, and what they need for
// themselves.
constexpr double kUsableMemory = 0.93;
constexpr double kOtherMemory = 2e9;

absl::Status CheckServing(const GpuServing& s) {
  for (int size :
       {s.tensor_parallel, s.pipeline_parallel, s.attention_data_parallel,
        s.expert_tensor_parallel, s.expert_parallel, s.streams}) {
    if (size < 1 || size > 1024) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a parallel size or number of streams of ", size, ": use 1 to 1024"));
    }
  }
  return absl::OkStatus();
}

WeightFormat Stored(const std::string& fixed, WeightFormat labelled) {
  // Which 8-bit weights they are, where they are.
  if (fixed == "fp8_block" && labelled == WeightFormat::kFp8) {
    return WeightFormat::kFp8Block;
  }
  if (fixed == "bf16") return WeightFormat::kBf16;
  if (fixed == "mxfp4") return WeightFormat::kMxfp4;
  return labelled;
}

// Layers with a window keep that much only: nothing in the long run.
double KeptLayers(const ModelShape& m) {
  return m.window > 0 || m.linear_head_dim > 0 ? m.full_layers() : m.layers;
}

// KV of one token of one layer that keeps all of it, bytes.
double KvBytesOfLayer(const ModelShape& m, int kv_heads, KvFormat kv) {
  const double element = kv == KvFormat::kFp8 ? 1 : 2;
  return m.latent() ? (m.kv_lora + m.rope) * element
                    : 2.0 * kv_heads * m.head_dim * element;
}

}  // namespace

absl::StatusOr<ServedModel> ServedModel::Find(const GpuProfiles& profiles,
                                              const GpuServing& serving) {
  BRAID_RETURN_IF_ERROR(CheckServing(serving));
  const ModelShape* model = profiles.FindModel(serving.model);
  if (model == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("unknown model '", serving.model,
                     "': add its config to models.csv of the profiles, or use "
                     "one of ",
                     profiles.ModelNames()));
  }
  const GpuSystem* system = profiles.FindSystem(serving.system);
  if (system == nullptr) {
    return absl::NotFoundError(absl::StrCat(
        "unknown system '", serving.system,
        "': add its constants to systems.csv of the profiles, or use one of ",
        profiles.SystemNames()));
  }
  const int tp = serving.tensor_parallel;
  return ServedModel{*model,
                     *system,
                     profiles.habits(serving.engine),
                     serving,
                     Stored(model->dense_format, serving.weights),
                     Stored(model->expert_format, serving.expert_weights),
                     std::max(1, model->heads / tp),
                     std::max(1, model->kv_heads / tp)};
}

double ServedModel::OfBlocks(WeightFormat format) const {
  return format == WeightFormat::kFp8Block &&
                 system.fp4_flops > system.fp8_flops
             ? habits.block_weights
             : 1;
}

double ServedModel::WeightBytesOfGpu() const {
  const ModelShape& m = model;
  const double tp = serving.tensor_parallel;
  double attention;
  if (m.latent()) {
    attention = 1.0 * m.hidden * (m.q_lora + m.kv_lora + m.rope) +
                (1.0 * m.q_lora * m.heads * (m.head_dim + m.rope) +
                 2.0 * m.kv_lora * m.heads * m.head_dim +
                 1.0 * m.heads * m.head_dim * m.hidden) /
                    tp;
  } else {
    attention = 2.0 * m.hidden * (heads + kv_heads) * m.head_dim;
  }
  const double dense_layers = m.layers - m.expert_layers();
  const double of_dense =
      m.layers * attention + dense_layers * 3.0 * m.hidden * m.ffn / tp +
      m.expert_layers() * 3.0 * m.hidden * m.shared_ffn / tp;
  const double of_experts =
      3.0 * m.hidden * m.expert_ffn * m.experts * m.expert_layers() /
      (serving.expert_parallel * serving.expert_tensor_parallel);
  const double vocabulary = 2.0 * m.vocab * m.hidden / tp;
  return (of_dense * WeightBytes(dense) + of_experts * WeightBytes(experts) +
          vocabulary * 2) /
         serving.pipeline_parallel;
}

double ServedModel::KvBytesOfGpu() const {
  return KeptLayers(model) * KvBytesOfLayer(model, kv_heads, serving.kv) /
         serving.pipeline_parallel;
}

double ServedModel::KvBytesPerToken() const {
  return KeptLayers(model) * KvBytesOfLayer(model, model.kv_heads, serving.kv);
}

double ServedModel::UsableBytesOfGpu() const {
  return kUsableMemory * system.memory - kOtherMemory;
}

}  // namespace braid::gpu
