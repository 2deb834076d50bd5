// `braid simulate --validate`: flags into a comparison with hardware.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "server/simulate_command.h"
#include "simulator/gpu/gpu_profiles.h"
#include "simulator/gpu/validate.h"

namespace braid::server {
namespace {

constexpr int kUsageError = 2;

}  // namespace

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
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr,
                 "braid: %s; see `braid simulate --validate FILE --help`\n",
                 error.what());
    return kUsageError;
  }
  return gpu::RunValidate(options, std::cout);
}

}  // namespace braid::server
