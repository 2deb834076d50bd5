// Seconds of single kernels of one system: from the measured tables of it (or
// of the system that stands in for it), as a ratio to the roofline, which
// carries the ratio over to shapes and systems that were not measured.
//
// Each function finds its rows once and returns what is quick to ask, from any
// thread, as long as it is kept: it refers to nothing.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/strings/string_view.h"
#include "simulator/gpu/curve.h"
#include "simulator/gpu/gpu_profiles.h"
#include "simulator/gpu/roofline.h"

namespace braid::gpu {

// One layer's attention as one GPU sees it.
struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0;
  int window = 0;  // 0: attends to everything
  KvFormat kv = KvFormat::kBf16;
};

enum class Collective : uint8_t { kAllReduce, kAllGather, kReduceScatter };

class KernelTimes final {
 public:
  using OfSize = std::function<double(double)>;
  using OfRowsAndContext = std::function<double(double, double)>;

  // Both outlive this.
  KernelTimes(const GpuProfiles& profiles, const GpuSystem& system);

  // x: rows of the activation (m) against weights [n][k].
  OfSize Gemm(WeightFormat format, int n, int k) const;
  // x: tokens of one prompt from its beginning, all at once.
  OfSize PromptAttention(const AttentionShape& shape) const;
  OfRowsAndContext DecodeAttention(const AttentionShape& shape) const;
  // A whole latent-attention block of one layer, projections included. The
  // tables of some systems hold launches that an engine does not pay in decode:
  // `projections`, the seconds of their GEMMs by rows, bounds that part.
  OfSize LatentPrompt(WeightFormat format, KvFormat kv, int heads) const;
  OfRowsAndContext LatentDecode(WeightFormat format, KvFormat kv, int heads,
                                const OfSize& projections) const;
  // x: tokens of the whole group, routed over all its experts; the time of the
  // busiest GPU.
  OfSize Experts(const ExpertShape& shape) const;
  // x: elements of two bytes, among `gpus` of one NVLink domain or beyond.
  OfSize Collect(Collective op, int gpus) const;

 private:
  struct Latent {
    const MeasuredTable::Row* row = nullptr;
    const GpuSystem* from = nullptr;  // where it was measured
  };
  // Over the roofline, by m; empty when the table has no such kernel.
  Curve GemmRatio(absl::string_view name, int n, int k) const;
  // Seconds by m of the quickest measured shape that n x k can be padded to;
  // empty when none is as large.
  Curve PaddedGemm(absl::string_view name, int n, int k) const;
  Latent FindLatent(const MeasuredTable& table, WeightFormat format,
                    KvFormat kv, int heads) const;

  const GpuProfiles& profiles_;
  const GpuSystem& system_;
  const GpuSystem& measured_;  // whose tables are read
};

}  // namespace braid::gpu
