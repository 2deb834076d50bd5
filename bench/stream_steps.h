// What PARSCALE streams cost: decode steps of 1, 2, 4 and 8 streams a request,
// taken in turn, and beside them the bare matrix products of as many rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/packed_model.h"
#include "kvcache/kv_arena.h"
#include "model/parscale.h"

namespace braid::cpu {

// A nested set of random weights: time does not depend on what they are.
class RandomStreams {
 public:
  RandomStreams(const ModelConfig& config, int32_t streams,
                int32_t prefix_tokens);
  const ParscaleSet& set() const { return set_; }

 private:
  Tensor Random(int64_t rows, int64_t columns);

  ParscaleSet set_;
  std::vector<std::vector<std::byte>> bytes_;
  uint32_t state_ = 1;
};

// Prints, for batches of 1, 2 and 8: milliseconds of a step (median of all
// rounds), and over one stream's the ratio (median of the rounds' ratios, and
// the least and largest of them). `stages`: where the time goes, too. The model
// has the set, with 8 streams.
void MeasureStreams(const PackedModel& model, const KvArena& arena, int cores,
                    int rounds, bool stages);

}  // namespace braid::cpu
