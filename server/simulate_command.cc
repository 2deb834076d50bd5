#include "server/simulate_command.h"

#include <algorithm>
#include <cstdio>

#include "server/command_line.h"

namespace braid::server {
namespace {

struct Mode {
  const char* flag;  // the one that asks for it
  const char* what;
  int (*run)(const std::vector<std::string>&);
};

constexpr Mode kModes[] = {
    {"--seeds", "--seeds FROM:TO    clusters under faults, by seed",
     SimulateSeeds},
    {"--trace", "--trace FILE       a recorded workload on a described cluster",
     SimulateTrace},
    {"--validate", "--validate FILE    step times of GPUs against hardware",
     SimulateValidate},
};

void PrintHelp(std::FILE* out) {
  std::fputs("Usage: braid simulate MODE [flags]\n", out);
  for (const Mode& mode : kModes) std::fprintf(out, "  %s\n", mode.what);
  std::fputs("`braid simulate MODE --help` lists the flags of a mode.\n", out);
}

bool Names(const std::string& arg, const std::string& flag) {
  return arg == flag || arg.starts_with(flag + "=");
}

}  // namespace

int RunSimulate(const std::vector<std::string>& args) {
  for (const Mode& mode : kModes) {
    const bool asked = std::ranges::any_of(
        args, [&](const std::string& arg) { return Names(arg, mode.flag); });
    if (asked) return mode.run(args);
  }
  const bool help = std::ranges::any_of(args, [](const std::string& arg) {
    return arg == "--help" || arg == "-h";
  });
  if (!help) FailUsage("simulate needs a mode");
  PrintHelp(help ? stdout : stderr);
  return help ? 0 : kUsageError;
}

}  // namespace braid::server
