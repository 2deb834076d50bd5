// Summaries of many numbers: exact ones of a sample, and a histogram for what
// is too many to keep (every gap between tokens of a day).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace braid {

struct Summary {
  uint64_t count = 0;
  double mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};

// Nearest-rank percentiles. Sorts `values`.
Summary Summarise(std::vector<double>& values);

// Times from 1 us to 1000 s in bins of at most 0.7 %; what lies outside counts
// into the first or last bin. A percentile is the upper edge of its bin.
class TimeHistogram final {
 public:
  TimeHistogram();
  void Add(double seconds);
  Summary Summarise() const;

 private:
  uint32_t BinOf(double seconds) const;
  double UpperEdge(uint32_t bin) const;

  std::vector<uint64_t> bins_;
  uint64_t count_ = 0;
  double sum_ = 0, max_ = 0;
};

}  // namespace braid
