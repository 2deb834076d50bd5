#include "simulator/gpu/transfer_time.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace braid::gpu {

absl::StatusOr<double> TransferSeconds(const GpuProfiles& profiles,
                                       absl::string_view system,
                                       uint64_t bytes) {
  const GpuSystem* found = profiles.FindSystem(system);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown system '", system, "': use one of ", profiles.SystemNames()));
  }
  const auto fit =
      profiles.links.find(absl::StrCat(found->links, "/inter_node"));
  if (fit == profiles.links.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "send_recv.csv of the profiles has no fit for ", found->links));
  }
  // A network other than the measured one: as much of its own speed.
  const GpuSystem* measured =
      profiles.FindSystem(found->links == "a100_dgx" ? "a100_sxm" : "h100_sxm");
  const double speedup = measured == nullptr ? 1
                                             : found->network_bandwidth /
                                                   measured->network_bandwidth;
  return fit->second.small_seconds +
         static_cast<double>(bytes) / (fit->second.bandwidth * speedup);
}

}  // namespace braid::gpu
