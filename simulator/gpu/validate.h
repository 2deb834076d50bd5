// `braid simulate --validate FILE`: the step-time model against end-to-end
// measurements on real hardware.
#pragma once

#include <ostream>
#include <string>

#include "absl/status/status.h"

namespace braid::gpu {

struct ValidateOptions {
  std::string file;         // columns of silicon_e2e.csv.gz; .gz or plain
  std::string profiles;     // empty: GpuProfiles::DefaultDirectory()
  std::string predictions;  // a CSV file to write every row's prediction to
};

// Writes the report; its last line is
//   rows N used M tpot_median X% ttft_median Y%
// An error when a file cannot be read or written. Rows of models or systems
// that are not known are counted and named, never an error.
absl::Status Validate(const ValidateOptions& options, std::ostream& out);

}  // namespace braid::gpu
