// The command lines of the subcommands: CLI11 reads the flags, and what is
// wrong with them is said here, in one line that names the flag and what would
// do.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace braid::server {

// The exit status of a process whose arguments, or the files they name, cannot
// be worked with.
inline constexpr int kUsageError = 2;
// Says so on stderr and returns it.
int FailUsage(absl::string_view message);

// Sets the variables behind the flags of `app`. Returns its help when that was
// asked for, else an empty text. `help` is the command that prints it, named
// in INVALID_ARGUMENT.
absl::StatusOr<std::string> ParseFlags(CLI::App& app,
                                       const std::vector<std::string>& args,
                                       absl::string_view help);

// What the environment says (BRAID_KV_MEMORY for --kv-memory), as flags that go
// before those of the command line: with the last one winning, the order is
// flag, environment, config file.
//
// A list is that of the command line, or else of the environment, where line
// feeds stand between its values.
std::vector<std::string> EnvironmentArgs(
    CLI::App& app, const std::vector<std::string>& command_line);

// Variables BRAID_... that are set and mean no flag of `app`: misspelt, most
// likely. Those that Kubernetes sets for a service named braid are not among
// them.
std::vector<std::string> UnknownVariables(const CLI::App& app);

// `message`, which begins with a flag, and where that flag's value is from
// unless that is the command line: its environment variable or `config`, a
// file. REQUIRES: ParseFlags was called.
std::string WithOrigin(absl::string_view message,
                       const std::vector<std::string>& command_line,
                       absl::string_view config);

}  // namespace braid::server
