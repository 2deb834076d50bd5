#include "simulator/gpu/gpu_step_time.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "simulator/gpu/octave_grid.h"
#include "simulator/gpu/step_terms.h"

namespace braid::gpu {
namespace {

constexpr uint64_t kMaxTokens = 65536;    // of a step, per attention group
constexpr uint64_t kMaxRows = 8192;       // likewise
constexpr uint64_t kMaxContext = 262144;  // tokens
constexpr double kLeastKvTokens = 1024;   // a worker that holds fewer is none

}  // namespace

struct GpuStepTime::Grids {
  double overhead = 0;         // of a step
  double prompt_overhead = 0;  // more of one with prompts
  double prefill = 1;          // EngineHabits::prefill
  uint32_t groups = 1;         // attention groups
  OctaveCurve dense, head;     // by tokens and by drawn rows of a group
  OctaveCurve experts;         // by tokens of all groups
  bool has_experts = false;
  OctaveCurve aggregation;   // by drawn rows of a group
  OctaveCurve prompt;        // by tokens from a prompt's beginning
  double prompt_launch = 0;  // of the smallest chunk
  OctaveSurface decode;      // by rows and mean context of a group
  uint64_t kv_bytes_per_token = 0, kv_capacity_tokens = 0;
  int gpus = 1, streams = 1;
};

GpuStepTime::GpuStepTime(std::shared_ptr<const Grids> grids)
    : grids_(std::move(grids)) {}

namespace {

OctaveCurve CurveOf(uint64_t most, const KernelTimes::OfSize& seconds,
                    double factor = 1) {
  return OctaveCurve(most, [&](uint64_t x) {
    return x == 0 ? 0 : factor * seconds(static_cast<double>(x));
  });
}

}  // namespace

absl::StatusOr<GpuStepTime> GpuStepTime::Load(const GpuProfiles& profiles,
                                              const GpuServing& serving) {
  BRAID_ASSIGN_OR_RETURN(const ServedModel served,
                         ServedModel::Find(profiles, serving));
  const ModelShape& model = served.model;
  const EngineHabits& habits = served.habits;
  const int tp = serving.tensor_parallel;
  const KernelTimes kernels(profiles, served.system);

  auto grids = std::make_shared<Grids>();
  grids->groups = static_cast<uint32_t>(serving.attention_data_parallel);
  grids->gpus =
      tp * serving.pipeline_parallel * serving.attention_data_parallel;
  grids->prefill = habits.prefill;
  grids->overhead = habits.step_overhead + habits.layer_overhead * model.layers;
  grids->prompt_overhead = habits.prompt_layer_overhead * model.layers;
  grids->dense = CurveOf(kMaxTokens, DenseTerm(served, kernels));
  grids->has_experts = model.expert_layers() > 0;
  if (grids->has_experts) {
    grids->experts =
        CurveOf(kMaxTokens * grids->groups, ExpertTerm(served, kernels));
  }
  grids->head =
      CurveOf(kMaxRows,
              kernels.Gemm(WeightFormat::kBf16, model.vocab / tp, model.hidden),
              habits.gemm);
  grids->streams = serving.streams;
  if (serving.streams > 1) {
    grids->aggregation = CurveOf(kMaxRows, AggregationTerm(served, kernels));
  }
  const auto prompt = PromptTerm(served, kernels);
  const double prompt_factor =
      model.latent() ? habits.latent_prefill : habits.prefill_attention;
  grids->prompt_launch = prompt_factor * prompt(1);
  grids->prompt = OctaveCurve(kMaxContext, [&](uint64_t tokens) {
    return tokens == 0 ? 0
                       : prompt_factor *
                             (prompt(static_cast<double>(tokens)) - prompt(1));
  });
  const auto decode = DecodeTerm(served, kernels);
  const double decode_factor =
      model.latent() ? habits.latent_decode : habits.decode_attention;
  grids->decode = OctaveSurface(
      kMaxRows, kMaxContext, [&](uint64_t rows, uint64_t context) {
        if (rows == 0 || context == 0) return 0.0;
        return decode_factor *
               decode(static_cast<double>(rows), static_cast<double>(context));
      });

  grids->kv_bytes_per_token = static_cast<uint64_t>(served.KvBytesPerToken());
  const double kv_gpu = served.KvBytesOfGpu();
  const double room = served.UsableBytesOfGpu() - served.WeightBytesOfGpu();
  if (room < kv_gpu * kLeastKvTokens) {
    return absl::ResourceExhaustedError(
        absl::StrCat(serving.model, " leaves no memory for KV on ", grids->gpus,
                     " x ", serving.system, ": its weights need ",
                     static_cast<int64_t>(served.WeightBytesOfGpu() / 1e9),
                     " GB per GPU; use more GPUs or smaller weights"));
  }
  grids->kv_capacity_tokens =
      static_cast<uint64_t>(room / kv_gpu) * grids->groups;
  return GpuStepTime(std::move(grids));
}

double GpuStepTime::Seconds(absl::Span<const PromptChunk> chunks,
                            uint32_t decode_rows, uint64_t decode_attended,
                            uint32_t stream_rows) const {
  const Grids& g = *grids_;
  BRAID_CHECK(stream_rows == 0 || g.streams > 1);
  // Tokens and seconds of attention: of all chunks, and of the longest.
  uint64_t tokens = 0, longest = 0;
  double attention = 0, longest_attention = 0;
  for (const PromptChunk& chunk : chunks) {
    if (chunk.count == 0) continue;
    const double own = g.prompt_launch +
                       g.prompt.At(uint64_t{chunk.before} + chunk.count) -
                       g.prompt.At(chunk.before);
    tokens += chunk.count;
    longest = std::max<uint64_t>(longest, chunk.count);
    attention += own;
    longest_attention = std::max(longest_attention, own);
  }
  const uint32_t single = decode_rows + stream_rows;
  if (tokens == 0 && single == 0) return 0;
  // The groups share rows alike, and prompts as whole as they come: the fullest
  // one is waited for.
  const auto share = [&](uint64_t of) {
    return (of + g.groups - 1) / g.groups;
  };
  const auto of_tokens = [&](uint64_t fullest, uint64_t all) {
    return g.dense.At(fullest) + (g.has_experts ? g.experts.At(all) : 0);
  };
  const uint64_t rows = share(single);
  const double decode = of_tokens(rows, rows * g.groups);
  double seconds =
      g.overhead + g.head.At(share(decode_rows + chunks.size())) + decode;
  if (tokens > 0) {
    const uint64_t fullest = std::max(longest, share(tokens));
    const double more =
        of_tokens(rows + fullest, rows * g.groups + tokens) - decode;
    seconds +=
        g.prompt_overhead +
        g.prefill * (more + std::max(longest_attention, attention / g.groups));
  }
  if (single > 0) seconds += g.decode.At(rows, decode_attended / single);
  if (stream_rows > 0) seconds += g.aggregation.At(share(decode_rows));
  return seconds;
}

uint64_t GpuStepTime::kv_bytes_per_token() const {
  return grids_->kv_bytes_per_token;
}
uint64_t GpuStepTime::kv_capacity_tokens() const {
  return grids_->kv_capacity_tokens;
}
int GpuStepTime::gpus() const { return grids_->gpus; }
uint32_t GpuStepTime::attention_groups() const { return grids_->groups; }

}  // namespace braid::gpu
