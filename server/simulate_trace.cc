// `braid simulate --trace`: a recorded workload through the scheduler, in
// virtual time.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/command_line.h"
#include "server/simulate_command.h"
#include "simulator/replay/replay_command.h"

namespace braid::server {
int SimulateTrace(const std::vector<std::string>& args) {
  if (std::ranges::any_of(args, [](const std::string& arg) {
        return arg == "--help" || arg == "-h";
      })) {
    std::fputs(kReplayHelp, stdout);
    return 0;
  }
  const absl::StatusOr<ReplayOptions> options = ParseReplayFlags(args);
  if (!options.ok()) {
    return FailUsage(
        absl::StrCat(options.status().message(),
                     "; `braid simulate --trace FILE --help` lists the flags"));
  }
  return RunReplay(*options, std::cout, std::cerr, isatty(STDERR_FILENO) == 1);
}

}  // namespace braid::server
