// A measured run, repeated in simulation.
#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "simulator/gpu/closed_loop.h"
#include "simulator/gpu/measured_run.h"

namespace braid::gpu {

struct Prediction {
  double ttft = 0, tpot = 0;  // seconds
  double waited_for_memory = 0;
};

class RunPredictor final {
 public:
  // `profiles` outlives this.
  explicit RunPredictor(const GpuProfiles& profiles) : profiles_(profiles) {}

  // REQUIRES: run.unusable is empty. Fails for an unknown model or system, or
  // weights that do not fit.
  absl::StatusOr<Prediction> Predict(const MeasuredRun& run);

 private:
  absl::StatusOr<GpuStepTime> WorkerOf(GpuServing serving);

  const GpuProfiles& profiles_;
  // Sweeps share workers: loaded once each.
  absl::flat_hash_map<std::string, absl::StatusOr<GpuStepTime>> workers_;
};

}  // namespace braid::gpu
