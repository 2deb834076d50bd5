// The committed profiles, read once for all tests.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "simulator/gpu/gpu_profiles.h"

namespace braid::gpu {

inline const GpuProfiles& TestProfiles() {
  static const GpuProfiles* const profiles = [] {
    auto read = GpuProfiles::Read(BRAID_SOURCE_DIR "/simulator/profiles");
    if (!read.ok()) {
      std::fprintf(stderr, "%s\n", read.status().ToString().c_str());
      std::abort();
    }
    return new GpuProfiles(*std::move(read));
  }();
  return *profiles;
}

}  // namespace braid::gpu
