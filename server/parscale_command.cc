#include "server/parscale_command.h"

#include <cstdio>

#include "server/command_line.h"

namespace braid::server {
namespace {

struct Mode {
  const char* name;
  const char* what;
  int (*run)(const std::vector<std::string>&);
};

constexpr Mode kModes[] = {
    {"eval",
     "eval --model M --parscale FILE --text FILE    how well a text is "
     "predicted, by number of streams",
     EvaluateParscale},
    {"inspect",
     "inspect FILE    what is in an adapter file or a Qwen2ParScale folder",
     InspectParscale},
};

void PrintHelp(std::FILE* out) {
  std::fputs("Usage: braid parscale MODE\n", out);
  for (const Mode& mode : kModes) std::fprintf(out, "  %s\n", mode.what);
}

}  // namespace

int RunParscale(const std::vector<std::string>& args) {
  const std::string name = args.empty() ? "" : args[0];
  for (const Mode& mode : kModes) {
    if (name == mode.name) return mode.run({args.begin() + 1, args.end()});
  }
  const bool help = name == "--help" || name == "-h";
  if (!help) {
    FailUsage(name.empty() ? "parscale needs a mode"
                           : "parscale has no mode '" + name + "'");
  }
  PrintHelp(help ? stdout : stderr);
  return help ? 0 : kUsageError;
}

}  // namespace braid::server
