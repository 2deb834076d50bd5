// PARSCALE's aggregation: the rows that the streams of a gang leave after the
// last layer, weighed into the one that the output head sees (the maths is in
// model/parscale.h).
//
// A pass mixes up to `slots` heads. Threads share the rows of the matrices and
// meet between the stages, which the caller sees to. Heads of one set stand
// together, most streams first, so that each stream's matrix is read once for
// all that have it.
//
// Bits: a mix depends on its own streams only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/float_kernels.h"
#include "cpu/kernels.h"
#include "cpu/packed_model.h"
#include "cpu/step_rows.h"

namespace braid::cpu {

class StreamMix final {
 public:
  // `model` outlives it.
  StreamMix(const PackedModel& model, int32_t slots);

  // Bytes of the buffers, and where they are: aligned to 64. None when the
  // model has no sets.
  size_t bytes() const;
  void Place(std::byte* memory);

  // Where the normalised row of a stream of the pass's head `slot` goes.
  float* row(int32_t slot, int32_t stream) const;

  // Of all heads with more than one stream, rows [first, end) of the hidden
  // layer's inputs: sum_s w1[s] H_s.
  void Project(std::span<const HeadRow> heads, int64_t first,
               int64_t end) const;
  // All of `slot`'s rows and inputs are there. Writes [hidden] to `out`.
  void Weigh(const HeadRow& head, int32_t slot, float* out) const;

 private:
  const PackedModel& model_;
  const Kernels& kernels_;
  const FloatKernels& floats_;
  const int32_t slots_;
  int32_t streams_ = 0;       // most of any set
  float* rows_ = nullptr;     // [streams_][slots_][hidden]
  float* sums_ = nullptr;     // [slots_][hidden]
  float* product_ = nullptr;  // [slots_][hidden]
};

}  // namespace braid::cpu
