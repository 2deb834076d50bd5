// `braid simulate --seeds`: flags into a swarm, its totals into a line and an
// exit status.
#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/command_line.h"
#include "server/simulate_command.h"
#include "simulator/seed_swarm.h"

namespace braid::server {
namespace {

constexpr int kViolations = 1;

// The flags as text, before they are understood.
struct RawFlags {
  std::string seeds, faults = "all";
};

// "17" or "1:1000".
bool ParseSeeds(const std::string& text, SwarmOptions& options) {
  const std::vector<std::string> ends = absl::StrSplit(text, ':');
  return ends.size() <= 2 && absl::SimpleAtoi(ends.front(), &options.from) &&
         absl::SimpleAtoi(ends.back(), &options.to) &&
         options.from <= options.to;
}

std::string FaultHelp() {
  std::string help = "all, none, or a list of";
  for (int i = 0; i < kFaultKindCount; ++i) {
    const auto kind = static_cast<FaultKind>(i);
    absl::StrAppend(&help, "\n", ToString(kind), ": ", Describe(kind));
  }
  return help;
}

void AddFlags(CLI::App& app, RawFlags& raw, SwarmOptions& options) {
  SimulationOptions& simulation = options.simulation;
  app.add_option("--seeds", raw.seeds, "FROM:TO, both included")
      ->required()
      ->group("What");
  app.add_option("--faults", raw.faults, FaultHelp())
      ->capture_default_str()
      ->group("What");
  app.add_option("--max-faults", simulation.max_faults,
                 "After that many none happens any more (of one seed)")
      ->group("What");
  app.add_option("--nodes", simulation.nodes,
                 "Machines (default: 1 to 3, by seed)")
      ->check(CLI::Range(1u, 64u))
      ->group("What");
  app.add_option("--requests", simulation.requests,
                 "Requests (default: 10 to 50, by seed)")
      ->check(CLI::Range(1u, 100000u))
      ->group("What");
  app.add_option("--minutes", simulation.minutes,
                 "Virtual time in which requests arrive, as many as fit")
      ->check(CLI::Range(0.001, 10000.0))
      ->group("What");
  app.add_option("--only", simulation.only,
                 "Only the requests with these numbers, from 0")
      ->delimiter(',')
      ->group("What");
  app.add_option("--jobs", options.jobs, "Processes (default: the cores)")
      ->check(CLI::Range(1u, 1024u))
      ->group("How");
  app.add_option("--stop-after", options.most_violations,
                 "Begins no seed after that many violations")
      ->group("How");
  app.add_flag("--shrink", options.shrink,
               "Make a failing seed smaller for as long as it fails")
      ->group("How");
  app.add_flag("--digest", options.digests,
               "A line per seed with the digest of all its events")
      ->group("How");
  app.add_flag(
         "--log", [&simulation](std::int64_t) { simulation.echo = 1; },
         "Print every event as it happens; runs one process")
      ->group("How");
}

}  // namespace

int SimulateSeeds(const std::vector<std::string>& args) {
  SwarmOptions options;
  options.jobs = std::max(1u, std::thread::hardware_concurrency());
  RawFlags raw;
  CLI::App app("Runs clusters of the production engine in virtual time.",
               "braid simulate");
  AddFlags(app, raw, options);
  const absl::StatusOr<std::string> help =
      ParseFlags(app, args, "braid simulate --seeds 1:1 --help");
  if (!help.ok()) return FailUsage(help.status().message());
  if (!help->empty()) {
    std::fputs(help->c_str(), stdout);
    return 0;
  }
  if (!ParseSeeds(raw.seeds, options)) {
    return FailUsage(absl::StrCat("--seeds: '", raw.seeds,
                                  "' is not FROM:TO; write e.g. 1:1000"));
  }
  const absl::StatusOr<FaultSet> faults = FaultSet::Parse(raw.faults);
  if (!faults.ok())
    return FailUsage(absl::StrCat("--faults: ", faults.status().message()));
  options.simulation.faults = *faults;
  if (options.simulation.echo >= 0) options.jobs = 1;
  const SwarmTotals totals = RunSwarm(options, stdout);
  std::printf("seeds %llu events %llu faults %llu violations %llu\n",
              static_cast<unsigned long long>(totals.seeds),
              static_cast<unsigned long long>(totals.events),
              static_cast<unsigned long long>(totals.faults),
              static_cast<unsigned long long>(totals.violations));
  return totals.violations > 0 ? kViolations : 0;
}

}  // namespace braid::server
