#include "kvcache/transport/transfer_coverage.h"

#include "base/check.h"

namespace braid {

TransferCoverage::TransferCoverage(uint32_t pairs, uint32_t layers,
                                   uint32_t first_layer)
    : pairs_(pairs),
      layers_(layers),
      first_layer_(first_layer),
      missing_(uint64_t{pairs} * (layers - first_layer)),
      covered_(uint64_t{pairs} * layers) {
  BRAID_CHECK(first_layer < layers);
}

bool TransferCoverage::Add(const TransferPiece& piece) {
  BRAID_CHECK(piece.first_pair < piece.end_pair && piece.end_pair <= pairs_);
  BRAID_CHECK(first_layer_ <= piece.first_layer &&
              piece.first_layer < piece.end_layer &&
              piece.end_layer <= layers_);
  uint64_t fresh = 0;
  for (uint32_t pair = piece.first_pair; pair < piece.end_pair; ++pair) {
    for (uint32_t layer = piece.first_layer; layer < piece.end_layer; ++layer) {
      auto cell = covered_[uint64_t{pair} * layers_ + layer];
      fresh += !cell;
      cell = true;
    }
  }
  const uint64_t cells = uint64_t{piece.end_pair - piece.first_pair} *
                         (piece.end_layer - piece.first_layer);
  BRAID_CHECK_MSG(fresh == 0 || fresh == cells, "pieces overlap");
  missing_ -= fresh;
  return fresh > 0;
}

}  // namespace braid
