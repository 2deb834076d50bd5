// Seconds that KV needs from one GPU to another over the network.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "simulator/gpu/gpu_profiles.h"

namespace braid::gpu {

// From one GPU to one of another node, alone on the link. `system` as in
// systems.csv; InvalidArgument when it is not there.
absl::StatusOr<double> TransferSeconds(const GpuProfiles& profiles,
                                       absl::string_view system,
                                       uint64_t bytes);

}  // namespace braid::gpu
