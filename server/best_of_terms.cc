#include "server/best_of_terms.h"

#include "server/request_error.h"

namespace braid::server {

absl::StatusOr<ParscaleTerms> BesideBestOf(uint32_t best_of,
                                           const SamplingParams& sampling,
                                           const ParscaleTerms& asked) {
  if (best_of == 1) return asked;
  if (!(sampling.temperature >= kGreedyBelow)) {
    return InvalidField(
        "best_of",
        "needs a temperature above 0: at 0 all candidates are equal");
  }
  if (asked.given && asked.mode != StreamMode::kOff) {
    return InvalidField(
        "best_of",
        "uses the same idle rows as parscale: leave one of them out, or give "
        "parscale.mode 'off'");
  }
  ParscaleTerms terms = asked;
  terms.mode = StreamMode::kOff;
  return terms;
}

}  // namespace braid::server
