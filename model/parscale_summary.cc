#include "model/parscale_summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

namespace braid {
namespace {

// Extremes and root mean square of values that come piece by piece.
class Spread final {
 public:
  void Add(std::span<const float> values) {
    for (const float value : values) {
      min_ = std::min(min_, double{value});
      max_ = std::max(max_, double{value});
      squares_ += double{value} * value;
    }
    count_ += values.size();
  }
  void Add(const Tensor& tensor) {
    std::vector<float> row(static_cast<size_t>(tensor.columns));
    for (int64_t r = 0; r < tensor.rows; ++r) {
      DequantizeRow(tensor.dtype, tensor.row(r), tensor.columns, row.data());
      Add(row);
    }
  }
  TensorSummary Finish(std::string name, DType dtype,
                       std::vector<int64_t> shape) const {
    return {std::move(name),
            dtype,
            std::move(shape),
            min_,
            max_,
            std::sqrt(squares_ / static_cast<double>(count_))};
  }

 private:
  double min_ = std::numeric_limits<double>::infinity();
  double max_ = -std::numeric_limits<double>::infinity();
  double squares_ = 0;
  size_t count_ = 0;
};

TensorSummary OfPrefix(const ParscaleSet& set, const char* name, size_t stream,
                       const std::vector<Tensor>& layers) {
  Spread spread;
  for (const Tensor& tensor : layers) spread.Add(tensor);
  const Tensor& first = layers.front();
  return spread.Finish(
      absl::StrCat(name, " stream ", stream), first.dtype,
      {static_cast<int64_t>(layers.size()), first.rows / set.prefix_tokens,
       set.prefix_tokens, first.columns});
}

TensorSummary OfMatrix(std::string name, const Tensor& tensor) {
  Spread spread;
  spread.Add(tensor);
  return spread.Finish(std::move(name), tensor.dtype,
                       {tensor.rows, tensor.columns});
}

TensorSummary OfVector(std::string name, std::span<const float> values) {
  Spread spread;
  spread.Add(values);
  return spread.Finish(std::move(name), DType::kF32,
                       {static_cast<int64_t>(values.size())});
}

}  // namespace

std::vector<TensorSummary> Summarize(const ParscaleSet& set) {
  std::vector<TensorSummary> tensors;
  for (size_t s = 0; s < set.prefix_k.size(); ++s) {
    if (set.prefix_k[s].empty()) continue;
    tensors.push_back(OfPrefix(set, "prefix_k", s, set.prefix_k[s]));
    tensors.push_back(OfPrefix(set, "prefix_v", s, set.prefix_v[s]));
  }
  for (size_t s = 0; s < set.w1.size(); ++s) {
    tensors.push_back(OfMatrix(absl::StrCat("w1 stream ", s), set.w1[s]));
  }
  tensors.push_back(OfVector("b1", set.b1));
  tensors.push_back(OfMatrix("w2", set.w2));
  tensors.push_back(OfVector("b2", set.b2));
  return tensors;
}

ParscaleParameters CountParameters(const ParscaleSet& set) {
  ParscaleParameters counts;
  for (const auto* prefixes : {&set.prefix_k, &set.prefix_v}) {
    for (const std::vector<Tensor>& layers : *prefixes) {
      for (const Tensor& tensor : layers) {
        counts.prefixes += tensor.rows * tensor.columns;
      }
    }
  }
  for (const Tensor& block : set.w1) {
    counts.aggregator += block.rows * block.columns;
  }
  counts.aggregator += set.w2.rows * set.w2.columns +
                       static_cast<int64_t>(set.b1.size() + set.b2.size());
  return counts;
}

}  // namespace braid
