// Which (pair, layer) cells of a transfer have been posted. Layers before
// `first_layer` do not travel.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "kvcache/transport/kv_transport.h"

namespace braid {

class TransferCoverage final {
 public:
  TransferCoverage(uint32_t pairs, uint32_t layers, uint32_t first_layer = 0);

  // False, changing nothing, when every cell of the piece was covered before: a
  // repetition. CHECKs that the piece is not empty, lies within what travels
  // and does not overlap earlier ones in part.
  [[nodiscard]] bool Add(const TransferPiece& piece);

  bool complete() const { return missing_ == 0; }

 private:
  uint32_t pairs_, layers_, first_layer_;
  uint64_t missing_;
  std::vector<bool> covered_;  // [pair][layer]
};

}  // namespace braid
