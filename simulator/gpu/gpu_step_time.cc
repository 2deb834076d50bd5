#include "simulator/gpu/gpu_step_time.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "simulator/gpu/kernel_times.h"
#include "simulator/gpu/octave_grid.h"

namespace braid::gpu {
namespace {

constexpr uint64_t kMaxTokens = 65536;    // of a step, per attention group
constexpr uint64_t kMaxRows = 8192;       // likewise
constexpr uint64_t kMaxContext = 262144;  // tokens
// What engines are told to use of the memory, and what they need for
// themselves.
constexpr double kUsableMemory = 0.93;
constexpr double kOtherMemory = 2e9;

WeightFormat Stored(const std::string& fixed, WeightFormat labelled) {
  // Which 8-bit weights they are, where they are.
  if (fixed == "fp8_block" && labelled == WeightFormat::kFp8) {
    return WeightFormat::kFp8Block;
  }
  if (fixed == "bf16") return WeightFormat::kBf16;
  if (fixed == "mxfp4") return WeightFormat::kMxfp4;
  return labelled;
}

// Everything that is the same for all terms.
struct Layout {
  const ModelShape& model;
  const GpuSystem& system;
  const EngineHabits& habits;
  GpuServing serving;
  WeightFormat dense, experts;
  int heads, kv_heads;  // of one GPU

  // EngineHabits::block_weights where it applies.
  double OfBlocks(WeightFormat format) const {
    return format == WeightFormat::kFp8Block &&
                   system.fp4_flops > system.fp8_flops
               ? habits.block_weights
               : 1;
  }
};

double WeightsOfGpu(const Layout& l) {
  const ModelShape& m = l.model;
  const double tp = l.serving.tensor_parallel;
  double attention;
  if (m.latent()) {
    attention = 1.0 * m.hidden * (m.q_lora + m.kv_lora + m.rope) +
                (1.0 * m.q_lora * m.heads * (m.head_dim + m.rope) +
                 2.0 * m.kv_lora * m.heads * m.head_dim +
                 1.0 * m.heads * m.head_dim * m.hidden) /
                    tp;
  } else {
    attention = 2.0 * m.hidden * (l.heads + l.kv_heads) * m.head_dim;
  }
  const double dense_layers = m.layers - m.expert_layers();
  double parameters = m.layers * attention +
                      dense_layers * 3.0 * m.hidden * m.ffn / tp +
                      m.expert_layers() * 3.0 * m.hidden * m.shared_ffn / tp;
  const double experts =
      3.0 * m.hidden * m.expert_ffn * m.experts * m.expert_layers() /
      (l.serving.expert_parallel * l.serving.expert_tensor_parallel);
  const double vocabulary = 2.0 * m.vocab * m.hidden / tp;
  return (parameters * WeightBytes(l.dense) + experts * WeightBytes(l.experts) +
          vocabulary * 2) /
         l.serving.pipeline_parallel;
}

// KV of one token of one layer that keeps all of it, on one GPU, bytes.
double KvBytesOfLayer(const ModelShape& m, int kv_heads, KvFormat kv) {
  const double element = kv == KvFormat::kFp8 ? 1 : 2;
  return m.latent() ? (m.kv_lora + m.rope) * element
                    : 2.0 * kv_heads * m.head_dim * element;
}

// Seconds of all GEMMs of the layers for `x` tokens of one attention group.
KernelTimes::OfSize DenseGemms(const Layout& l, const KernelTimes& kernels) {
  const ModelShape& m = l.model;
  const int tp = l.serving.tensor_parallel;
  std::vector<std::pair<double, KernelTimes::OfSize>> terms;
  const auto add = [&](double layers, WeightFormat format, int n, int k) {
    if (layers > 0 && n > 0 && k > 0) {
      terms.emplace_back(layers, kernels.Gemm(format, n, k));
    }
  };
  if (!m.latent()) {
    const bool linear = m.linear_head_dim > 0;
    const int attending = linear ? m.full_layers() : m.layers;
    add(attending, l.dense, (l.heads + 2 * l.kv_heads) * m.head_dim, m.hidden);
    add(attending, l.dense, m.hidden, l.heads * m.head_dim);
    if (linear) {
      const int value = m.linear_value_heads * m.linear_head_dim / tp;
      const int key = m.linear_key_heads * m.linear_head_dim / tp;
      add(m.layers - attending, l.dense, 2 * (value + key), m.hidden);
      add(m.layers - attending, l.dense, m.hidden, value);
    }
  }
  const int dense_layers = m.layers - m.expert_layers();
  add(dense_layers, l.dense, 2 * m.ffn / tp, m.hidden);
  add(dense_layers, l.dense, m.hidden, m.ffn / tp);
  add(m.expert_layers(), l.dense, 2 * m.shared_ffn / tp, m.hidden);
  add(m.expert_layers(), l.dense, m.hidden, m.shared_ffn / tp);
  add(m.expert_layers(), WeightFormat::kBf16, m.experts, m.hidden);  // router
  return [terms = std::move(terms)](double x) {
    double seconds = 0;
    for (const auto& [layers, gemm] : terms) seconds += layers * gemm(x);
    return seconds;
  };
}

// Norms, rotations, activations, residuals: bytes read and written.
double ElementwiseBytes(const Layout& l) {
  const ModelShape& m = l.model;
  const double tp = l.serving.tensor_parallel;
  const double between = m.experts > 0 ? 1.0 * m.topk * m.expert_ffn /
                                             l.serving.expert_tensor_parallel /
                                             l.serving.expert_parallel
                                       : m.ffn / tp;
  return m.layers * 2.0 *
         (10.0 * m.hidden + 3.0 * (l.heads + 2 * l.kv_heads) * m.head_dim +
          3.0 * between);
}

// All layers' experts, for the tokens of all attention groups together.
KernelTimes::OfSize ExpertTerm(const Layout& l, const KernelTimes& kernels) {
  const ModelShape& m = l.model;
  const auto experts = kernels.Experts(
      {l.experts, m.hidden, m.expert_ffn, m.topk, m.experts,
       l.serving.expert_tensor_parallel, l.serving.expert_parallel});
  return [experts, layers = l.habits.expert * l.OfBlocks(l.experts) *
                            m.expert_layers()](double x) {
    return layers * experts(x);
  };
}

// What a step pays for the tokens of one attention group whatever they attend
// to, but for the experts.
KernelTimes::OfSize DenseTerm(const Layout& l, const KernelTimes& kernels) {
  const ModelShape& m = l.model;
  const int tp = l.serving.tensor_parallel;
  const int dp = l.serving.attention_data_parallel;
  const EngineHabits& h = l.habits;
  const KernelTimes::OfSize gemms = DenseGemms(l, kernels);
  const double gemm = h.gemm * l.OfBlocks(l.dense);
  const auto reduce = kernels.Collect(Collective::kAllReduce, tp);
  const auto gather = kernels.Collect(Collective::kAllGather, tp * dp);
  const auto scatter = kernels.Collect(Collective::kReduceScatter, tp * dp);
  const double elementwise =
      ElementwiseBytes(l) / l.system.memory_bandwidth * h.elementwise;
  // Experts that span several attention groups gather and scatter instead.
  const bool spans = dp > 1 && m.expert_layers() > 0;
  const int reduces = 2 * m.layers - (spans ? m.expert_layers() : 0);
  const double hops = l.serving.pipeline_parallel - 1;
  return [=](double x) {
    const double elements = x * m.hidden;
    double seconds = gemm * gemms(x) + elementwise * x;
    double collective = reduces * reduce(elements);
    if (spans) {
      collective +=
          m.expert_layers() * (gather(elements * dp) + scatter(elements * dp));
    }
    seconds += h.collective * collective;
    return seconds + hops * (10e-6 + 2 * elements / l.system.nvlink_bandwidth);
  };
}

// All layers' prompt attention, one prompt from its beginning.
KernelTimes::OfSize PromptTerm(const Layout& l, const KernelTimes& kernels) {
  const ModelShape& m = l.model;
  if (m.latent()) {
    return [one = kernels.LatentPrompt(l.dense, l.serving.kv, l.heads),
            layers = m.layers](double x) { return layers * one(x); };
  }
  AttentionShape shape{l.heads, l.kv_heads, m.head_dim, 0, l.serving.kv};
  const auto full = kernels.PromptAttention(shape);
  const int full_layers = m.full_layers();
  if (m.window == 0) {
    return [=](double x) { return full_layers * full(x); };
  }
  shape.window = m.window;
  const auto windowed = kernels.PromptAttention(shape);
  const int windowed_layers = m.layers - full_layers;
  return [=](double x) {
    return full_layers * full(x) + windowed_layers * windowed(x);
  };
}

// Down and up to the heads, the two that the latent is absorbed with, and out.
KernelTimes::OfSize LatentProjections(const Layout& l,
                                      const KernelTimes& kernels) {
  const ModelShape& m = l.model;
  // Checkpoints of four bits keep these in sixteen.
  const WeightFormat format =
      WeightBytes(l.dense) < 1 ? WeightFormat::kBf16 : l.dense;
  const auto down =
      kernels.Gemm(format, m.q_lora + m.kv_lora + m.rope, m.hidden);
  const auto up =
      kernels.Gemm(format, l.heads * (m.head_dim + m.rope), m.q_lora);
  const auto absorb = kernels.Gemm(format, l.heads * m.head_dim, m.kv_lora);
  const auto out = kernels.Gemm(format, m.hidden, l.heads * m.head_dim);
  return [=](double x) { return down(x) + up(x) + 2 * absorb(x) + out(x); };
}

KernelTimes::OfRowsAndContext DecodeTerm(const Layout& l,
                                         const KernelTimes& kernels) {
  const ModelShape& m = l.model;
  if (m.latent()) {
    const double sparse = m.sparse > 0 ? m.sparse : 1e18;
    // The index of sparse attention: 128 bytes and a scale per token.
    const double index =
        m.sparse > 0 ? 132.0 * m.layers / l.system.memory_bandwidth : 0;
    return [one = kernels.LatentDecode(l.dense, l.serving.kv, l.heads,
                                       LatentProjections(l, kernels)),
            layers = m.layers, sparse, index](double rows, double context) {
      return layers * one(rows, std::min(context, sparse)) +
             index * rows * context;
    };
  }
  AttentionShape shape{l.heads, l.kv_heads, m.head_dim, 0, l.serving.kv};
  const auto full = kernels.DecodeAttention(shape);
  const int full_layers = m.full_layers();
  const int others = m.layers - full_layers;
  // A linear layer reads and writes its state, 32 bits each.
  const double state = m.linear_head_dim > 0
                           ? 2.0 * 4 * others * m.linear_value_heads *
                                 m.linear_head_dim * m.linear_head_dim /
                                 l.serving.tensor_parallel /
                                 l.system.memory_bandwidth
                           : 0;
  if (m.window == 0) {
    return [=](double rows, double context) {
      return full_layers * full(rows, context) + state * rows;
    };
  }
  shape.window = m.window;
  const auto windowed = kernels.DecodeAttention(shape);
  return [=](double rows, double context) {
    return full_layers * full(rows, context) + others * windowed(rows, context);
  };
}

// Of the streams' last hidden states into one, for `x` requests: the
// aggregator's first layer reads all of them, its columns shared out; its
// second one's partial sums are a weight for each stream.
KernelTimes::OfSize AggregationTerm(const Layout& l,
                                    const KernelTimes& kernels) {
  const int tp = l.serving.tensor_parallel;
  const int streams = l.serving.streams;
  const auto first = kernels.Gemm(WeightFormat::kBf16, l.model.hidden / tp,
                                  streams * l.model.hidden);
  const auto reduce = kernels.Collect(Collective::kAllReduce, tp);
  return [=, factor = l.habits.gemm](double x) {
    return factor * first(x) + reduce(x * streams);
  };
}

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

absl::StatusOr<GpuStepTime> GpuStepTime::Load(const GpuProfiles& profiles,
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
  const Layout layout{*model,
                      *system,
                      profiles.habits(serving.engine),
                      serving,
                      Stored(model->dense_format, serving.weights),
                      Stored(model->expert_format, serving.expert_weights),
                      std::max(1, model->heads / tp),
                      std::max(1, model->kv_heads / tp)};
  const EngineHabits& habits = layout.habits;
  const KernelTimes kernels(profiles, *system);

  auto grids = std::make_shared<Grids>();
  grids->groups = static_cast<uint32_t>(serving.attention_data_parallel);
  grids->gpus =
      tp * serving.pipeline_parallel * serving.attention_data_parallel;
  grids->prefill = habits.prefill;
  grids->overhead =
      habits.step_overhead + habits.layer_overhead * model->layers;
  grids->prompt_overhead = habits.prompt_layer_overhead * model->layers;
  const auto dense = DenseTerm(layout, kernels);
  grids->dense = OctaveCurve(kMaxTokens, [&](uint64_t tokens) {
    return tokens == 0 ? 0 : dense(static_cast<double>(tokens));
  });
  grids->has_experts = model->expert_layers() > 0;
  if (grids->has_experts) {
    const auto experts = ExpertTerm(layout, kernels);
    grids->experts =
        OctaveCurve(kMaxTokens * grids->groups, [&](uint64_t tokens) {
          return tokens == 0 ? 0 : experts(static_cast<double>(tokens));
        });
  }
  const auto head =
      kernels.Gemm(WeightFormat::kBf16, model->vocab / tp, model->hidden);
  grids->head = OctaveCurve(kMaxRows, [&](uint64_t rows) {
    return rows == 0 ? 0 : habits.gemm * head(static_cast<double>(rows));
  });
  grids->streams = serving.streams;
  if (serving.streams > 1) {
    const auto aggregation = AggregationTerm(layout, kernels);
    grids->aggregation = OctaveCurve(kMaxRows, [&](uint64_t rows) {
      return rows == 0 ? 0 : aggregation(static_cast<double>(rows));
    });
  }
  const auto prompt = PromptTerm(layout, kernels);
  const double prompt_factor =
      model->latent() ? habits.latent_prefill : habits.prefill_attention;
  const double decode_factor =
      model->latent() ? habits.latent_decode : habits.decode_attention;
  grids->prompt_launch = prompt_factor * prompt(1);
  grids->prompt = OctaveCurve(kMaxContext, [&](uint64_t tokens) {
    return tokens == 0 ? 0
                       : prompt_factor *
                             (prompt(static_cast<double>(tokens)) - prompt(1));
  });
  const auto decode = DecodeTerm(layout, kernels);
  grids->decode = OctaveSurface(
      kMaxRows, kMaxContext, [&](uint64_t rows, uint64_t context) {
        if (rows == 0 || context == 0) return 0.0;
        return decode_factor *
               decode(static_cast<double>(rows), static_cast<double>(context));
      });

  // Layers with a window keep that much only: nothing in the long run.
  const double kept_layers = model->window > 0 || model->linear_head_dim > 0
                                 ? model->full_layers()
                                 : model->layers;
  const double kv_gpu = kept_layers *
                        KvBytesOfLayer(*model, layout.kv_heads, serving.kv) /
                        serving.pipeline_parallel;
  grids->kv_bytes_per_token = static_cast<uint64_t>(
      kept_layers * KvBytesOfLayer(*model, model->kv_heads, serving.kv));
  const double room =
      kUsableMemory * system->memory - kOtherMemory - WeightsOfGpu(layout);
  if (room < kv_gpu * 1024) {
    return absl::ResourceExhaustedError(
        absl::StrCat(serving.model, " leaves no memory for KV on ", grids->gpus,
                     " x ", serving.system, ": its weights need ",
                     static_cast<int64_t>(WeightsOfGpu(layout) / 1e9),
                     " GB per GPU; use more GPUs or smaller weights"));
  }
  grids->kv_capacity_tokens =
      static_cast<uint64_t>(room / kv_gpu) * grids->groups;
  return GpuStepTime(std::move(grids));
}

struct GpuStepTime::Prompts {
  uint64_t tokens = 0, longest = 0;             // of all; of the longest chunk
  double attention = 0, longest_attention = 0;  // seconds, likewise
  uint64_t chunks = 0;

  void Add(const Grids& g, const PromptChunk& chunk) {
    ++chunks;
    if (chunk.count == 0) return;
    const double own = g.prompt_launch +
                       g.prompt.At(uint64_t{chunk.before} + chunk.count) -
                       g.prompt.At(chunk.before);
    tokens += chunk.count;
    longest = std::max<uint64_t>(longest, chunk.count);
    attention += own;
    longest_attention = std::max(longest_attention, own);
  }
};

double GpuStepTime::Seconds(absl::Span<const PromptChunk> chunks,
                            uint32_t decode_rows, uint64_t decode_attended,
                            uint32_t stream_rows) const {
  Prompts prompts;
  for (const PromptChunk& chunk : chunks) prompts.Add(*grids_, chunk);
  return SecondsOf(prompts, decode_rows, decode_attended, stream_rows);
}

double GpuStepTime::SecondsOf(const Prompts& prompts, uint32_t decode_rows,
                              uint64_t decode_attended,
                              uint32_t stream_rows) const {
  const Grids& g = *grids_;
  BRAID_CHECK(stream_rows == 0 || g.streams > 1);
  const uint32_t single = decode_rows + stream_rows;
  if (prompts.tokens == 0 && single == 0) return 0;
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
      g.overhead + g.head.At(share(decode_rows + prompts.chunks)) + decode;
  if (prompts.tokens > 0) {
    const uint64_t fullest = std::max(prompts.longest, share(prompts.tokens));
    const double more =
        of_tokens(rows + fullest, rows * g.groups + prompts.tokens) - decode;
    const double attention =
        std::max(prompts.longest_attention, prompts.attention / g.groups);
    seconds += g.prompt_overhead + g.prefill * (more + attention);
  }
  if (single > 0) seconds += g.decode.At(rows, decode_attended / single);
  if (stream_rows > 0) seconds += g.aggregation.At(share(decode_rows));
  return seconds;
}

double GpuStepTime::Seconds(const StepShape& shape) const {
  Prompts prompts;
  if (shape.chunk_tokens > 0) {
    const uint64_t count = shape.chunk_tokens;
    const uint64_t own = count * (count + 1) / 2;
    const uint64_t before =
        shape.chunk_attended > own ? (shape.chunk_attended - own) / count : 0;
    prompts.Add(*grids_, {static_cast<uint32_t>(before), shape.chunk_tokens});
    // A shape does not say how many prompts they are of: the groups share.
    prompts.longest = 0;
    prompts.longest_attention = 0;
  }
  return SecondsOf(prompts, shape.decode_rows, shape.decode_attended,
                   shape.stream_rows);
}

uint64_t GpuStepTime::kv_bytes_per_token() const {
  return grids_->kv_bytes_per_token;
}
uint64_t GpuStepTime::kv_capacity_tokens() const {
  return grids_->kv_capacity_tokens;
}
int GpuStepTime::gpus() const { return grids_->gpus; }
uint32_t GpuStepTime::attention_groups() const { return grids_->groups; }

absl::StatusOr<double> TransferSeconds(const GpuProfiles& profiles,
                                       absl::string_view system, GpuLink link,
                                       uint64_t bytes) {
  const GpuSystem* found = profiles.FindSystem(system);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown system '", system, "': use one of ", profiles.SystemNames()));
  }
  const bool nvlink = link == GpuLink::kNvlink;
  const auto fit = profiles.links.find(
      absl::StrCat(found->links, "/", nvlink ? "intra_node" : "inter_node"));
  if (fit == profiles.links.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "send_recv.csv of the profiles has no fit for ", found->links));
  }
  // A link other than the measured one: as much of its own speed.
  const GpuSystem* measured =
      profiles.FindSystem(found->links == "a100_dgx" ? "a100_sxm" : "h100_sxm");
  const double speedup =
      measured == nullptr ? 1
      : nvlink            ? found->nvlink_bandwidth / measured->nvlink_bandwidth
               : found->network_bandwidth / measured->network_bandwidth;
  return fit->second.small_seconds +
         static_cast<double>(bytes) / (fit->second.bandwidth * speedup);
}

}  // namespace braid::gpu
