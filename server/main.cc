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
#include "server/daemon.h"
#include "server/options.h"
#include "server/parscale_command.h"
#include "server/simulate_command.h"
#include "server/version.h"

namespace {

// `braid serve --help` documents these.
constexpr int kDrainCutShort = 1;
constexpr int kUsageError = 2;

constexpr char kHelp[] =
    "Usage: braid serve [flags]    serve a model over HTTP and gRPC\n"
    "       braid serve --help     list the flags\n"
    "       braid simulate MODE    simulate clusters in virtual time\n"
    "       braid simulate --help  list the modes\n"
    "       braid parscale MODE    look at a model's parallel streams\n"
    "       braid parscale --help  list the modes\n"
    "       braid --version\n";

int Fail(absl::string_view message) {
  std::fprintf(stderr, "braid: %.*s\n", static_cast<int>(message.size()),
               message.data());
  return kUsageError;
}

int RunServe(const std::vector<std::string>& args) {
  using namespace braid::server;
  const auto parsed = ParseServeOptions(args);
  if (!parsed.ok()) return Fail(parsed.status().message());
  if (const auto* text = std::get_if<PrintAndExit>(&*parsed)) {
    std::fputs(text->text.c_str(), stdout);
    return 0;
  }
  const ServeOptions& options = std::get<ServeOptions>(*parsed);
  if (const absl::Status isa = CheckCpuIsa(options.cpu_isa); !isa.ok()) {
    return Fail(isa.message());
  }
  const absl::StatusOr<DrainResult> drained = Serve(options);
  if (!drained.ok()) return Fail(drained.status().message());
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
    std::printf("braid %s\n", braid::server::kVersion);
    return 0;
  }
  if (args[0] == "serve") return RunServe({args.begin() + 1, args.end()});
  if (args[0] == "simulate") {
    return braid::server::RunSimulate({args.begin() + 1, args.end()});
  }
  if (args[0] == "parscale") {
    return braid::server::RunParscale({args.begin() + 1, args.end()});
  }
  return Fail("unknown command '" + args[0] + "'; try `braid serve --help`");
}
