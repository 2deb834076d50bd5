// `braid simulate --validate`: flags into a comparison with hardware.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "server/command_line.h"
#include "server/simulate_command.h"
#include "simulator/gpu/gpu_profiles.h"
#include "simulator/gpu/validate.h"

namespace braid::server {
int SimulateValidate(const std::vector<std::string>& args) {
  gpu::ValidateOptions options;
  options.profiles = gpu::GpuProfiles::DefaultDirectory();
  CLI::App app(
      "Compares the step times of GPUs with measurements on real hardware.",
      "braid simulate");
  app.add_option("--validate", options.file,
                 "Measurements, plain or .gz, with the columns of "
                 "simulator/profiles/silicon_e2e.csv.gz")
      ->required();
  app.add_option("--profiles", options.profiles, "Directory of GPU profiles")
      ->envname("BRAID_PROFILES")
      ->capture_default_str();
  app.add_option("--predictions", options.predictions,
                 "CSV file to write every row and its prediction to");
  const absl::StatusOr<std::string> help =
      ParseFlags(app, args, "braid simulate --validate FILE --help");
  if (!help.ok()) return FailUsage(help.status().message());
  if (!help->empty()) {
    std::fputs(help->c_str(), stdout);
    return 0;
  }
  const absl::Status status = gpu::Validate(options, std::cout);
  return status.ok() ? 0 : FailUsage(status.message());
}

}  // namespace braid::server
