#include "simulator/replay/percentiles.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace braid {
namespace {

constexpr double kLeast = 1e-6;
// Bins per doubling: 1 / 144 is 0.7 %. Within a doubling they are equally
// wide, so that no logarithm is needed to find one.
constexpr uint32_t kPerOctave = 144;
constexpr uint32_t kOctaves = 30;

double Rank(double share, uint64_t count) {
  return std::max(1.0, std::ceil(share * static_cast<double>(count)));
}

}  // namespace

Summary Summarise(std::vector<double>& values) {
  Summary summary{.count = values.size()};
  if (values.empty()) return summary;
  std::ranges::sort(values);
  for (double value : values) summary.mean += value;
  summary.mean /= static_cast<double>(values.size());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(Rank(share, values.size())) - 1];
  };
  summary.p50 = at(0.5);
  summary.p90 = at(0.9);
  summary.p95 = at(0.95);
  summary.p99 = at(0.99);
  summary.max = values.back();
  return summary;
}

TimeHistogram::TimeHistogram() : bins_(kPerOctave * kOctaves) {}

uint32_t TimeHistogram::BinOf(double seconds) const {
  if (!(seconds > kLeast)) return 0;
  const auto bits = std::bit_cast<uint64_t>(seconds / kLeast);
  const auto octave = static_cast<uint32_t>((bits >> 52) - 1023);
  if (octave >= kOctaves) return kPerOctave * kOctaves - 1;
  // The top 32 bits of the mantissa, scaled.
  const uint64_t mantissa = (bits >> 20) & 0xffffffff;
  return octave * kPerOctave +
         static_cast<uint32_t>(mantissa * kPerOctave >> 32);
}

double TimeHistogram::UpperEdge(uint32_t bin) const {
  const double within = (bin % kPerOctave + 1.0) / kPerOctave;
  return kLeast * std::ldexp(1 + within, static_cast<int>(bin / kPerOctave));
}

void TimeHistogram::Add(double seconds) {
  ++bins_[BinOf(seconds)];
  ++count_;
  sum_ += seconds;
  max_ = std::max(max_, seconds);
}

Summary TimeHistogram::Summarise() const {
  Summary summary{.count = count_};
  if (count_ == 0) return summary;
  summary.mean = sum_ / static_cast<double>(count_);
  summary.max = max_;
  const auto at = [&](double share) {
    const double rank = Rank(share, count_);
    uint64_t seen = 0;
    for (uint32_t bin = 0; bin < bins_.size(); ++bin) {
      seen += bins_[bin];
      if (static_cast<double>(seen) >= rank) {
        return std::min(UpperEdge(bin), max_);
      }
    }
    return max_;
  };
  summary.p50 = at(0.5);
  summary.p90 = at(0.9);
  summary.p95 = at(0.95);
  summary.p99 = at(0.99);
  return summary;
}

}  // namespace braid
