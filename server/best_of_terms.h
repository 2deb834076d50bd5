// What a request asks of best-of-n, and what that rules out. HTTP's field and
// gRPC's mean the same by the same name.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "model/sampling.h"
#include "server/parscale_terms.h"

namespace braid::server {

// What is asked of PARSCALE beside so many candidates: they use the same idle
// rows, so where there are any the server's default is off. INVALID_ARGUMENT
// naming the field, where the two cannot both be, or candidates could not
// differ.
absl::StatusOr<ParscaleTerms> BesideBestOf(uint32_t best_of,
                                           const SamplingParams& sampling,
                                           const ParscaleTerms& asked);

}  // namespace braid::server
