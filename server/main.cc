// The `braid` command.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/backend.h"
#include "server/command_line.h"
#include "server/daemon.h"
#include "server/options.h"
#include "server/parscale_command.h"
#include "server/simulate_command.h"
#include "server/version.h"

namespace {

using namespace braid::server;

// `braid serve --help` documents it.
constexpr int kDrainCutShort = 1;

constexpr char kHelp[] =
    "Usage: braid serve [flags]    serve a model over HTTP and gRPC\n"
    "       braid serve --help     list the flags\n"
    "       braid simulate MODE    simulate clusters in virtual time\n"
    "       braid simulate --help  list the modes\n"
    "       braid parscale MODE    look at a model's parallel streams\n"
    "       braid parscale --help  list the modes\n"
    "       braid --version\n";

int RunServe(const std::vector<std::string>& args) {
  const auto parsed = ParseServeOptions(args);
  if (!parsed.ok()) return FailUsage(parsed.status().message());
  if (const auto* text = std::get_if<PrintAndExit>(&*parsed)) {
    std::fputs(text->text.c_str(), stdout);
    return 0;
  }
  const ServeOptions& options = std::get<ServeOptions>(*parsed);
  if (const absl::Status isa = CheckCpuIsa(options.cpu_isa); !isa.ok()) {
    return FailUsage(isa.message());
  }
  for (const std::string& name : options.unknown_variables) {
    std::fprintf(stderr,
                 "braid: %s is set, but there is no such flag; `braid serve "
                 "--help` names the variables\n",
                 name.c_str());
  }
  const absl::StatusOr<DrainResult> drained = Serve(options);
  if (!drained.ok()) return FailUsage(drained.status().message());
  return *drained == DrainResult::kComplete ? 0 : kDrainCutShort;
}

}  // namespace

int main(int argc, char** argv) {
  // gRPC would add its own lines to our one.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.empty() || args[0] == "--help" || args[0] == "-h") {
    std::fputs(kHelp, args.empty() ? stderr : stdout);
    return args.empty() ? kUsageError : 0;
  }
  if (args[0] == "--version") {
    std::printf("braid %s\n", kVersion);
    return 0;
  }
  if (args[0] == "serve") return RunServe({args.begin() + 1, args.end()});
  if (args[0] == "simulate") {
    return RunSimulate({args.begin() + 1, args.end()});
  }
  if (args[0] == "parscale") {
    return RunParscale({args.begin() + 1, args.end()});
  }
  if (args[0].starts_with("-")) {
    return FailUsage("'" + args[0] +
                     "': flags follow a command; write `braid serve " +
                     args[0] + " ...`, or see `braid --help`");
  }
  return FailUsage("unknown command '" + args[0] +
                   "'; `braid --help` lists them");
}
