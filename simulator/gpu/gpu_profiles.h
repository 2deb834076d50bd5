// The measured tables and constants of simulator/profiles, read once.
//
// Thread safety: immutable after Read; any thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace braid::gpu {

class GpuProfiles final {
 public:
  // Where profiles are looked for when nobody says: $BRAID_PROFILES, or the
  // source tree this was built from.
  static std::string DefaultDirectory();

  // Reads the small files (models, systems, links); the tables of a system are
  // read when first needed. The error names `directory` and the remedy.
  static absl::StatusOr<GpuProfiles> Read(const std::string& directory);

  GpuProfiles(GpuProfiles&&) noexcept;
  GpuProfiles& operator=(GpuProfiles&&) noexcept;
  ~GpuProfiles();

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit GpuProfiles(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace braid::gpu
