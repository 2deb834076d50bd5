#include "cpu/stream_mix.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/parscale.h"

namespace braid::cpu {

StreamMix::StreamMix(const PackedModel& model, int32_t slots)
    : model_(model),
      kernels_(KernelsFor(model.isa)),
      floats_(FloatKernelsFor(model.isa)),
      slots_(slots) {
  for (const PackedStreams& set : model.sets) {
    streams_ = std::max(streams_, set.streams);
  }
}

size_t StreamMix::bytes() const {
  if (streams_ == 0) return 0;
  return sizeof(float) * static_cast<size_t>(streams_ + 2) *
         static_cast<size_t>(slots_) *
         static_cast<size_t>(model_.config.hidden);
}

void StreamMix::Place(std::byte* memory) {
  const int64_t rows = int64_t{slots_} * model_.config.hidden;
  rows_ = reinterpret_cast<float*>(memory);
  sums_ = rows_ + streams_ * rows;
  product_ = sums_ + rows;
}

float* StreamMix::row(int32_t slot, int32_t stream) const {
  return rows_ + (int64_t{stream} * slots_ + slot) * model_.config.hidden;
}

void StreamMix::Project(std::span<const HeadRow> heads, int64_t first,
                        int64_t end) const {
  if (first >= end) return;
  const int32_t hidden = model_.config.hidden;
  const auto slots = static_cast<int32_t>(heads.size());
  for (int32_t begin = 0; begin < slots;) {
    const int32_t set = heads[begin].set;
    if (set == 0) {
      ++begin;
      continue;
    }
    const PackedStreams& weights = model_.sets[set - 1];
    // Slots [begin, with) have the stream.
    int32_t with = begin;
    while (with < slots && heads[with].set == set) ++with;
    const int32_t next = with;
    for (int32_t s = 0; s < weights.streams; ++s) {
      while (with > begin && heads[with - 1].streams <= s) --with;
      if (with == begin) break;
      const Activations x = {.columns = hidden, .values = row(0, s)};
      kernels_.matmul(weights.w1[s], x, begin, with, first, end,
                      s == 0 ? sums_ : product_, hidden);
      if (s == 0) continue;
      for (int64_t slot = begin; slot < with; ++slot) {
        const int64_t at = slot * hidden + first;
        floats_.add(product_ + at, static_cast<int32_t>(end - first),
                    sums_ + at);
      }
    }
    begin = next;
  }
}

void StreamMix::Weigh(const HeadRow& head, int32_t slot, float* out) const {
  const PackedStreams& weights = model_.sets[head.set - 1];
  const int32_t hidden = model_.config.hidden;
  float* inner = sums_ + int64_t{slot} * hidden;
  floats_.add(weights.b1.data(), hidden, inner);
  floats_.silu(hidden, inner);
  std::array<float, kMostStreams> w;
  float largest = -INFINITY, total = 0;
  for (int32_t s = 0; s < head.streams; ++s) {
    w[s] = floats_.dot(weights.w2.data() + int64_t{s} * hidden, inner, hidden) +
           weights.b2[s];
    largest = std::max(largest, w[s]);
  }
  for (int32_t s = 0; s < head.streams; ++s) {
    total += w[s] = std::exp(w[s] - largest);
  }
  std::fill_n(out, hidden, 0.0f);
  for (int32_t s = 0; s < head.streams; ++s) {
    const float weight = w[s] / total * (1 - weights.smoothing) +
                         weights.smoothing / static_cast<float>(head.streams);
    floats_.add_scaled(row(slot, s), weight, hidden, out);
  }
}

}  // namespace braid::cpu
