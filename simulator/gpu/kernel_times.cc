#include "simulator/gpu/kernel_times.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "simulator/gpu/curve.h"

namespace braid::gpu {
namespace {

using Row = MeasuredTable::Row;

// Time over the roofline where nothing like it was measured: AIC's 80 % of the
// memory's speed.
constexpr double kUnmeasured = 1.25;
// What a latent-attention block costs beside its projections and the reading of
// its context: norms, rotation, the attention kernel's own start.
constexpr double kLatentLaunches = 15e-6;
// A second kernel's nearest shape may be further off than the first one's by so
// much.
constexpr double kFurther = 3;

double Number(const std::string& key) {
  double value = 0;
  return absl::SimpleAtod(key, &value) ? value : 0;
}

// How unlike two sizes are; 0 when equal.
double Apart(double a, double b) {
  return std::abs(std::log(std::max(a, 1.0) / std::max(b, 1.0)));
}

// Names of a format in the tables, best first: what was not measured is taken
// from the next kernel, as a ratio to its own roofline.
std::vector<absl::string_view> TableNames(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
      return {"bfloat16"};
    case WeightFormat::kFp8:
      return {"fp8", "fp8_block", "bfloat16"};
    case WeightFormat::kFp8Block:
      return {"fp8_block", "fp8", "bfloat16"};
    case WeightFormat::kNvfp4:
      return {"nvfp4", "fp8", "fp8_block", "w4a16_mxfp4", "bfloat16"};
    case WeightFormat::kInt4:
      return {"int4_wo", "w4a16_mxfp4", "bfloat16"};
    case WeightFormat::kMxfp4:
      return {"w4a16_mxfp4", "w4a8_mxfp4_mxfp8", "int4_wo", "bfloat16"};
  }
  return {};
}

WeightFormat FormatOf(absl::string_view table_name) {
  if (table_name == "fp8") return WeightFormat::kFp8;
  if (table_name == "fp8_block") return WeightFormat::kFp8Block;
  if (table_name == "nvfp4") return WeightFormat::kNvfp4;
  if (table_name == "int4_wo") return WeightFormat::kInt4;
  if (table_name == "w4a16_mxfp4") return WeightFormat::kMxfp4;
  if (table_name == "w4a8_mxfp4_mxfp8") return WeightFormat::kMxfp4;
  return WeightFormat::kBf16;
}

const GpuSystem& Measured(const GpuProfiles& profiles, const GpuSystem& s) {
  const GpuSystem* found = profiles.FindSystem(s.tables);
  return found == nullptr ? s : *found;
}

// Rows of decode attention for one shape: a curve over context per batch size.
// Between batch sizes linear, as the bytes read are.
class DecodeSurface {
 public:
  void Add(double batch, Curve curve) {
    if (!curve.empty()) curves_[batch] = std::move(curve);
  }
  bool empty() const { return curves_.empty(); }

  double At(double rows, double context) const {
    const auto above = curves_.lower_bound(rows);
    if (above == curves_.end()) {
      const auto& [batch, curve] = *curves_.rbegin();
      return curve.At(context) * rows / batch;
    }
    if (above == curves_.begin()) return above->second.At(context);
    const auto below = std::prev(above);
    const double share = (rows - below->first) / (above->first - below->first);
    const double low = below->second.At(context);
    return low + share * (above->second.At(context) - low);
  }

 private:
  std::map<double, Curve> curves_;
};

// The (heads, KV heads, head size) of a table nearest to a shape.
struct NearestAttention {
  double heads = 0, kv_heads = 0, head_dim = 0;
  int window = 0;
  absl::string_view kv;
};

bool SameAttention(const Row& row, const NearestAttention& at) {
  return row.keys[1] == at.kv && Number(row.keys[2]) == at.head_dim &&
         Number(row.keys[3]) == at.window && Number(row.keys[4]) == at.heads &&
         Number(row.keys[5]) == at.kv_heads;
}

// Of those with that window; nullopt where the system has none.
std::optional<NearestAttention> FindWindow(const MeasuredTable& table,
                                           const GpuSystem& measured,
                                           const AttentionShape& shape,
                                           int window) {
  const absl::string_view kv = shape.kv == KvFormat::kFp8 ? "fp8" : "bfloat16";
  std::optional<NearestAttention> nearest;
  double best = std::numeric_limits<double>::infinity();
  for (const Row& row : table.rows) {
    if (row.keys[0] != measured.name || Number(row.keys[3]) != window) continue;
    const double heads = Number(row.keys[4]), kv_heads = Number(row.keys[5]),
                 head_dim = Number(row.keys[2]);
    const double apart = 4 * Apart(head_dim, shape.head_dim) +
                         2 * Apart(kv_heads, shape.kv_heads) +
                         Apart(heads, shape.heads) +
                         (row.keys[1] == kv ? 0 : 0.1);
    if (apart < best) {
      best = apart;
      nearest = {heads, kv_heads, head_dim, window, row.keys[1]};
    }
  }
  return nearest;
}

// With the window of `shape` if that was measured, without one if not.
NearestAttention FindAttention(const MeasuredTable& table,
                               const GpuSystem& measured,
                               const AttentionShape& shape) {
  std::optional<NearestAttention> nearest =
      FindWindow(table, measured, shape, shape.window);
  if (!nearest) nearest = FindWindow(table, measured, shape, 0);
  BRAID_CHECK(nearest);  // Load has seen that the system has tables
  return *nearest;
}

// Whether a kernel of the tables runs weights of this format as they are.
bool SameWeights(WeightFormat format, absl::string_view table_name) {
  const auto kind = [](WeightFormat f) {
    return f == WeightFormat::kFp8Block ? WeightFormat::kFp8 : f;
  };
  return kind(FormatOf(table_name)) == kind(format);
}

struct NearExperts {
  const Row* row = nullptr;
  double apart = std::numeric_limits<double>::infinity();
};

NearExperts NearestExperts(const MeasuredTable& table,
                           const GpuSystem& measured, absl::string_view name,
                           const ExpertShape& shape) {
  NearExperts best;
  for (const Row& row : table.rows) {
    if (row.keys[0] != measured.name || row.keys[1] != name) continue;
    const double apart = 3 * Apart(Number(row.keys[2]), shape.hidden) +
                         Apart(Number(row.keys[3]), shape.ffn) +
                         Apart(Number(row.keys[4]), shape.topk) +
                         Apart(Number(row.keys[5]), shape.experts) +
                         Apart(Number(row.keys[6]), shape.tensor_parallel) +
                         Apart(Number(row.keys[7]), shape.expert_parallel);
    if (apart < best.apart) best = {&row, apart};
  }
  return best;
}

double KvBytes(absl::string_view kv) { return kv == "fp8" ? 1 : 2; }

}  // namespace

KernelTimes::KernelTimes(const GpuProfiles& profiles, const GpuSystem& system)
    : profiles_(profiles),
      system_(system),
      measured_(Measured(profiles, system)) {}

KernelTimes::OfSize KernelTimes::Gemm(WeightFormat format, int n, int k) const {
  // Kernels for these weights, and for wider ones: some of the tables were
  // measured with the launches and the scaling of activations in them, which no
  // engine pays when it replays a graph, so the quickest is believed.
  struct Kernel {
    WeightFormat format;
    Curve ratio, padded;
  };
  std::vector<Kernel> kernels;
  for (absl::string_view name : TableNames(format)) {
    Curve ratio = GemmRatio(name, n, k);
    if (ratio.empty()) continue;
    // Not measured for these weights at all: the next kernel's ratio is all
    // there is.
    const bool carried = kernels.empty() && !SameWeights(format, name);
    kernels.push_back({carried ? format : FormatOf(name), std::move(ratio),
                       carried ? Curve() : PaddedGemm(name, n, k)});
  }
  // A padded one is bound by memory or by its launch, rarely by arithmetic.
  const double slower = measured_.memory_bandwidth / system_.memory_bandwidth;
  return [system = system_, format, n, k, slower,
          kernels = std::move(kernels)](double m) {
    double best = std::numeric_limits<double>::infinity();
    for (const Kernel& kernel : kernels) {
      best = std::min(best, kernel.ratio.At(m, 0) *
                                GemmRoofline(system, kernel.format, m, n, k));
      if (!kernel.padded.empty()) {
        best = std::min(best, slower * kernel.padded.At(m));
      }
    }
    return kernels.empty() ? kUnmeasured * GemmRoofline(system, format, m, n, k)
                           : best;
  };
}

Curve KernelTimes::GemmRatio(absl::string_view name, int n, int k) const {
  const std::vector<double>& sizes = profiles_.gemm.sizes;
  std::vector<std::pair<double, const Row*>> near;
  for (const Row& row : profiles_.gemm.rows) {
    if (row.keys[0] != measured_.name || row.keys[1] != name) continue;
    const double away =
        Apart(Number(row.keys[2]), n) + Apart(Number(row.keys[3]), k);
    near.emplace_back(away, &row);
  }
  // The four measured (n, k) nearest, mixed in the logarithm of their ratios.
  const auto take =
      static_cast<std::ptrdiff_t>(std::min<size_t>(4, near.size()));
  std::partial_sort(
      near.begin(), near.begin() + take, near.end(),
      [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<double> ratio(sizes.size(), 0), weight(sizes.size(), 0);
  for (std::ptrdiff_t i = 0; i < take; ++i) {
    const auto& [away, row] = near[i];
    const double share = 1 / (away * away + 1e-6);
    for (size_t j = 0; j < sizes.size(); ++j) {
      if (!(row->seconds[j] > 0)) continue;
      const double roofline =
          GemmRoofline(measured_, FormatOf(name), sizes[j],
                       Number(row->keys[2]), Number(row->keys[3]));
      ratio[j] += share * std::log(row->seconds[j] / roofline);
      weight[j] += share;
    }
  }
  for (size_t j = 0; j < sizes.size(); ++j) {
    ratio[j] = weight[j] > 0 ? std::exp(ratio[j] / weight[j]) : 0;
  }
  return Curve(sizes, ratio);
}

Curve KernelTimes::PaddedGemm(absl::string_view name, int n, int k) const {
  const std::vector<double>& sizes = profiles_.gemm.sizes;
  std::vector<double> least(sizes.size(), 0);
  for (const Row& row : profiles_.gemm.rows) {
    if (row.keys[0] != measured_.name || row.keys[1] != name ||
        Number(row.keys[2]) < n || Number(row.keys[3]) < k) {
      continue;
    }
    for (size_t j = 0; j < sizes.size(); ++j) {
      const double seconds = row.seconds[j];
      if (seconds > 0 && (least[j] == 0 || seconds < least[j])) {
        least[j] = seconds;
      }
    }
  }
  return Curve(sizes, least);
}

KernelTimes::OfSize KernelTimes::PromptAttention(
    const AttentionShape& shape) const {
  const MeasuredTable& table = profiles_.prefill_attention;
  const NearestAttention at = FindAttention(table, measured_, shape);
  const double window = shape.window;
  const Row* best = nullptr;
  for (const Row& row : table.rows) {
    if (row.keys[0] == measured_.name && SameAttention(row, at)) {
      best = &row;
    }
  }
  // Heads of other numbers and sizes: as much arithmetic more or less.
  const double scale = shape.heads * shape.head_dim / (at.heads * at.head_dim) *
                       measured_.bf16_flops / system_.bf16_flops;
  const bool unwindowed = at.window != shape.window;
  return [curve = Curve(table.sizes, best->seconds), scale, unwindowed,
          window](double tokens) {
    if (!unwindowed || tokens <= window) {
      return curve.At(tokens, window > 0 ? 1 : 2) * scale;
    }
    return curve.At(window, 2) * scale * tokens / window;
  };
}

KernelTimes::OfRowsAndContext KernelTimes::DecodeAttention(
    const AttentionShape& shape) const {
  const MeasuredTable& table = profiles_.decode_attention;
  const NearestAttention at = FindAttention(table, measured_, shape);
  DecodeSurface surface;
  for (const Row& row : table.rows) {
    if (row.keys[0] == measured_.name && SameAttention(row, at)) {
      surface.Add(Number(row.keys[6]), Curve(table.sizes, row.seconds));
    }
  }
  const double kv_bytes = shape.kv == KvFormat::kFp8 ? 1 : 2;
  // KV heads of other numbers and sizes: as many bytes more or less.
  const double scale = shape.kv_heads * shape.head_dim * kv_bytes /
                       (at.kv_heads * at.head_dim * KvBytes(at.kv)) *
                       measured_.memory_bandwidth / system_.memory_bandwidth;
  const double limit = at.window != shape.window && shape.window > 0
                           ? static_cast<double>(shape.window)
                           : std::numeric_limits<double>::infinity();
  return [surface = std::move(surface), scale, limit](double rows,
                                                      double context) {
    return surface.At(rows, std::min(context, limit)) * scale;
  };
}

KernelTimes::Latent KernelTimes::FindLatent(const MeasuredTable& table,
                                            WeightFormat format, KvFormat kv,
                                            int heads) const {
  const absl::string_view kv_name = kv == KvFormat::kFp8 ? "fp8" : "bfloat16";
  const std::vector<absl::string_view> names = TableNames(format);
  Latent best;
  double best_apart = std::numeric_limits<double>::infinity();
  for (const Row& row : table.rows) {
    const auto name = std::find(names.begin(), names.end(), row.keys[2]);
    const double apart = (row.keys[0] == measured_.name ? 0 : 1000) +
                         10.0 * static_cast<double>(name - names.begin()) +
                         (row.keys[1] == kv_name ? 0 : 1) +
                         Apart(Number(row.keys[3]), heads);
    if (apart < best_apart) {
      best_apart = apart;
      best.row = &row;
    }
  }
  BRAID_CHECK(best.row != nullptr);  // Read refuses an empty table
  best.from = profiles_.FindSystem(best.row->keys[0]);
  if (best.from == nullptr) best.from = &measured_;
  return best;
}

KernelTimes::OfSize KernelTimes::LatentPrompt(WeightFormat format, KvFormat kv,
                                              int heads) const {
  const auto [row, from] = FindLatent(profiles_.mla_prefill, format, kv, heads);
  const double scale =
      heads / Number(row->keys[3]) * from->bf16_flops / system_.bf16_flops;
  return [curve = Curve(profiles_.mla_prefill.sizes, row->seconds),
          scale](double tokens) { return curve.At(tokens, 2) * scale; };
}

KernelTimes::OfRowsAndContext KernelTimes::LatentDecode(
    WeightFormat format, KvFormat kv, int heads,
    const OfSize& projections) const {
  const MeasuredTable& table = profiles_.mla_decode;
  const auto [best, from] = FindLatent(table, format, kv, heads);
  DecodeSurface surface;
  for (const Row& row : table.rows) {
    if (std::equal(row.keys.begin(), row.keys.begin() + 4,
                   best->keys.begin())) {
      surface.Add(Number(row.keys[4]), Curve(table.sizes, row.seconds));
    }
  }
  const double scale = from->memory_bandwidth / system_.memory_bandwidth;
  const double shortest = table.sizes.front();
  return [surface = std::move(surface), scale, shortest, projections](
             double rows, double context) {
    const double fixed = surface.At(rows, shortest) * scale;
    const double attention =
        std::max(0.0, surface.At(rows, context) * scale - fixed);
    return attention + std::min(fixed, projections(rows) + kLatentLaunches);
  };
}

KernelTimes::OfSize KernelTimes::Experts(const ExpertShape& shape) const {
  // Several kernels run the same weights and an engine takes the quickest: the
  // smallest ratio of the nearest shape of each.
  const MeasuredTable& table = profiles_.moe;
  std::vector<double> ratio;
  double first_apart = 0;
  for (absl::string_view name : TableNames(shape.format)) {
    if (!ratio.empty() && !SameWeights(shape.format, name)) break;
    const auto [row, apart] = NearestExperts(table, measured_, name, shape);
    if (row == nullptr) continue;
    if (ratio.empty()) {
      first_apart = apart;
    } else if (apart > first_apart + kFurther) {
      continue;
    }
    const ExpertShape measured{FormatOf(name),
                               static_cast<int>(Number(row->keys[2])),
                               static_cast<int>(Number(row->keys[3])),
                               static_cast<int>(Number(row->keys[4])),
                               static_cast<int>(Number(row->keys[5])),
                               static_cast<int>(Number(row->keys[6])),
                               static_cast<int>(Number(row->keys[7]))};
    std::vector<double> of_kernel(table.sizes.size());
    for (size_t i = 0; i < of_kernel.size(); ++i) {
      of_kernel[i] =
          row->seconds[i] / ExpertRoofline(measured_, measured, table.sizes[i]);
    }
    if (ratio.empty()) ratio = of_kernel;
    for (size_t i = 0; i < ratio.size(); ++i) {
      if (of_kernel[i] < ratio[i] || std::isnan(ratio[i])) {
        ratio[i] = of_kernel[i];
      }
    }
  }
  const Curve curve = ratio.empty() ? Curve() : Curve(table.sizes, ratio);
  return [system = system_, shape, curve](double tokens) {
    const double over = curve.empty() ? kUnmeasured : curve.At(tokens, 0);
    return over * ExpertRoofline(system, shape, tokens);
  };
}

KernelTimes::OfSize KernelTimes::Collect(Collective op, int gpus) const {
  if (gpus <= 1) return [](double) { return 0.0; };
  static constexpr absl::string_view kNames[] = {"all_reduce", "all_gather",
                                                 "reduce_scatter"};
  const absl::string_view name = kNames[static_cast<int>(op)];
  const MeasuredTable& table = profiles_.collectives;
  const Row* best = nullptr;
  for (const Row& row : table.rows) {
    if (row.keys[0] != measured_.name || row.keys[1] != name) continue;
    if (best == nullptr ||
        Apart(Number(row.keys[2]), gpus) < Apart(Number(best->keys[2]), gpus)) {
      best = &row;
    }
  }
  // Twice as many bytes cross a link for a reduction as for its halves.
  const double crossings = op == Collective::kAllReduce ? 2 : 1;
  const bool leaves_domain = gpus > system_.nvlink_domain;
  const double network = system_.network_bandwidth;
  // A GPU that joins is one more hop for a small message.
  const double hops =
      best == nullptr
          ? 1
          : std::max(1.0, std::log2(gpus) /
                              std::log2(std::max(2.0, Number(best->keys[2]))));
  const Curve curve =
      best == nullptr ? Curve() : Curve(table.sizes, best->seconds);
  const double nvlink = system_.nvlink_bandwidth;
  // What each byte costs more, or less, than where it was measured.
  const double slower = 1 / nvlink - 1 / measured_.nvlink_bandwidth;
  return [=](double elements) {
    const double bytes = 2 * elements;
    double seconds =
        curve.empty() ? 10e-6 + crossings * bytes / nvlink
                      : curve.At(elements) * hops + crossings * bytes * slower;
    if (leaves_domain) seconds += 20e-6 + crossings * bytes / 8 / network;
    return seconds;
  };
}

}  // namespace braid::gpu
