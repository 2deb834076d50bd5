#include "simulator/gpu/step_terms.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "simulator/gpu/roofline.h"

namespace braid::gpu {
namespace {

// Seconds of all GEMMs of the layers for `x` tokens of one attention group.
KernelTimes::OfSize DenseGemms(const ServedModel& served,
                               const KernelTimes& kernels) {
  const ModelShape& m = served.model;
  const int tp = served.serving.tensor_parallel;
  std::vector<std::pair<double, KernelTimes::OfSize>> terms;
  const auto add = [&](double layers, WeightFormat format, int n, int k) {
    if (layers > 0 && n > 0 && k > 0) {
      terms.emplace_back(layers, kernels.Gemm(format, n, k));
    }
  };
  if (!m.latent()) {
    const bool linear = m.linear_head_dim > 0;
    const int attending = linear ? m.full_layers() : m.layers;
    add(attending, served.dense,
        (served.heads + 2 * served.kv_heads) * m.head_dim, m.hidden);
    add(attending, served.dense, m.hidden, served.heads * m.head_dim);
    if (linear) {
      const int value = m.linear_value_heads * m.linear_head_dim / tp;
      const int key = m.linear_key_heads * m.linear_head_dim / tp;
      add(m.layers - attending, served.dense, 2 * (value + key), m.hidden);
      add(m.layers - attending, served.dense, m.hidden, value);
    }
  }
  const int dense_layers = m.layers - m.expert_layers();
  add(dense_layers, served.dense, 2 * m.ffn / tp, m.hidden);
  add(dense_layers, served.dense, m.hidden, m.ffn / tp);
  add(m.expert_layers(), served.dense, 2 * m.shared_ffn / tp, m.hidden);
  add(m.expert_layers(), served.dense, m.hidden, m.shared_ffn / tp);
  add(m.expert_layers(), WeightFormat::kBf16, m.experts, m.hidden);  // router
  return [terms = std::move(terms)](double x) {
    double seconds = 0;
    for (const auto& [layers, gemm] : terms) seconds += layers * gemm(x);
    return seconds;
  };
}

// Norms, rotations, activations, residuals: bytes read and written.
double ElementwiseBytes(const ServedModel& served) {
  const ModelShape& m = served.model;
  const double tp = served.serving.tensor_parallel;
  const double between = m.experts > 0
                             ? 1.0 * m.topk * m.expert_ffn /
                                   served.serving.expert_tensor_parallel /
                                   served.serving.expert_parallel
                             : m.ffn / tp;
  return m.layers * 2.0 *
         (10.0 * m.hidden +
          3.0 * (served.heads + 2 * served.kv_heads) * m.head_dim +
          3.0 * between);
}

// Down and up to the heads, the two that the latent is absorbed with, and out.
KernelTimes::OfSize LatentProjections(const ServedModel& served,
                                      const KernelTimes& kernels) {
  const ModelShape& m = served.model;
  // Checkpoints of four bits keep these in sixteen.
  const WeightFormat format =
      WeightBytes(served.dense) < 1 ? WeightFormat::kBf16 : served.dense;
  const auto down =
      kernels.Gemm(format, m.q_lora + m.kv_lora + m.rope, m.hidden);
  const auto up =
      kernels.Gemm(format, served.heads * (m.head_dim + m.rope), m.q_lora);
  const auto absorb =
      kernels.Gemm(format, served.heads * m.head_dim, m.kv_lora);
  const auto out = kernels.Gemm(format, m.hidden, served.heads * m.head_dim);
  return [=](double x) { return down(x) + up(x) + 2 * absorb(x) + out(x); };
}

}  // namespace

KernelTimes::OfSize ExpertTerm(const ServedModel& served,
                               const KernelTimes& kernels) {
  const ModelShape& m = served.model;
  const auto experts = kernels.Experts(
      {served.experts, m.hidden, m.expert_ffn, m.topk, m.experts,
       served.serving.expert_tensor_parallel, served.serving.expert_parallel});
  return [experts,
          layers = served.habits.expert * served.OfBlocks(served.experts) *
                   m.expert_layers()](double x) { return layers * experts(x); };
}

KernelTimes::OfSize DenseTerm(const ServedModel& served,
                              const KernelTimes& kernels) {
  const ModelShape& m = served.model;
  const int tp = served.serving.tensor_parallel;
  const int dp = served.serving.attention_data_parallel;
  const EngineHabits& h = served.habits;
  const KernelTimes::OfSize gemms = DenseGemms(served, kernels);
  const double gemm = h.gemm * served.OfBlocks(served.dense);
  const auto reduce = kernels.Collect(Collective::kAllReduce, tp);
  const auto gather = kernels.Collect(Collective::kAllGather, tp * dp);
  const auto scatter = kernels.Collect(Collective::kReduceScatter, tp * dp);
  const double elementwise =
      ElementwiseBytes(served) / served.system.memory_bandwidth * h.elementwise;
  // Experts that span several attention groups gather and scatter instead.
  const bool spans = dp > 1 && m.expert_layers() > 0;
  const int reduces = 2 * m.layers - (spans ? m.expert_layers() : 0);
  const double hops = served.serving.pipeline_parallel - 1;
  return [=](double x) {
    const double elements = x * m.hidden;
    double seconds = gemm * gemms(x) + elementwise * x;
    double collective = reduces * reduce(elements);
    if (spans) {
      collective +=
          m.expert_layers() * (gather(elements * dp) + scatter(elements * dp));
    }
    seconds += h.collective * collective;
    return seconds +
           hops * (10e-6 + 2 * elements / served.system.nvlink_bandwidth);
  };
}

KernelTimes::OfSize PromptTerm(const ServedModel& served,
                               const KernelTimes& kernels) {
  const ModelShape& m = served.model;
  if (m.latent()) {
    return [one = kernels.LatentPrompt(served.dense, served.serving.kv,
                                       served.heads),
            layers = m.layers](double x) { return layers * one(x); };
  }
  AttentionShape shape{served.heads, served.kv_heads, m.head_dim, 0,
                       served.serving.kv};
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

KernelTimes::OfRowsAndContext DecodeTerm(const ServedModel& served,
                                         const KernelTimes& kernels) {
  const ModelShape& m = served.model;
  if (m.latent()) {
    const double sparse = m.sparse > 0 ? m.sparse : 1e18;
    // The index of sparse attention: 128 bytes and a scale per token.
    const double index =
        m.sparse > 0 ? 132.0 * m.layers / served.system.memory_bandwidth : 0;
    return [one = kernels.LatentDecode(served.dense, served.serving.kv,
                                       served.heads,
                                       LatentProjections(served, kernels)),
            layers = m.layers, sparse, index](double rows, double context) {
      return layers * one(rows, std::min(context, sparse)) +
             index * rows * context;
    };
  }
  AttentionShape shape{served.heads, served.kv_heads, m.head_dim, 0,
                       served.serving.kv};
  const auto full = kernels.DecodeAttention(shape);
  const int full_layers = m.full_layers();
  const int others = m.layers - full_layers;
  // A linear layer reads and writes its state, 32 bits each.
  const double state = m.linear_head_dim > 0
                           ? 2.0 * 4 * others * m.linear_value_heads *
                                 m.linear_head_dim * m.linear_head_dim /
                                 served.serving.tensor_parallel /
                                 served.system.memory_bandwidth
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

KernelTimes::OfSize AggregationTerm(const ServedModel& served,
                                    const KernelTimes& kernels) {
  const int tp = served.serving.tensor_parallel;
  const int streams = served.serving.streams;
  const auto first = kernels.Gemm(WeightFormat::kBf16, served.model.hidden / tp,
                                  streams * served.model.hidden);
  const auto reduce = kernels.Collect(Collective::kAllReduce, tp);
  return [=, factor = served.habits.gemm](double x) {
    return factor * first(x) + reduce(x * streams);
  };
}

}  // namespace braid::gpu
