#include "server/command_line.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace braid::server {
namespace {

// BRAID_KV_MEMORY for --kv-memory.
std::string VariableOf(absl::string_view flag) {
  return absl::StrCat(
      "BRAID_", absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

bool Mentions(const std::vector<std::string>& args, absl::string_view flag) {
  const std::string name = absl::StrCat("--", flag);
  return std::ranges::any_of(args, [&](const std::string& arg) {
    return arg == name || absl::StartsWith(arg, absl::StrCat(name, "="));
  });
}

// "--http" of "--http: a value is missing"; else empty.
absl::string_view FlagOf(absl::string_view message) {
  if (!absl::StartsWith(message, "--")) return "";
  return message.substr(0, message.find_first_of(": "));
}

// A service named braid, or braid-something, gives every container of its
// namespace BRAID_SERVICE_HOST, BRAID_PORT, BRAID_PORT_8000_TCP_ADDR and more.
bool IsOfKubernetes(absl::string_view variable) {
  return absl::StrContains(variable, "_SERVICE_") ||
         absl::StrContains(variable, "_PORT_") ||
         absl::EndsWith(variable, "_PORT");
}

std::string ConfigFileOf(const CLI::App& app) {
  const CLI::Option* config = app.get_config_ptr();
  return config == nullptr || config->empty() ? "--config"
                                              : config->as<std::string>();
}

std::string WhatIsWrong(const CLI::App& app, const CLI::ParseError& error) {
  const std::string what = absl::StrReplaceAll(error.what(), {{"\n", " "}});
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    return absl::StrCat("unknown: ", absl::StrJoin(app.remaining(), " "));
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    return absl::StrCat(FlagOf(what), ": a value is missing");
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    // "Could not convert: --flag = value"
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(absl::StripPrefix(what, "Could not convert: "),
                       absl::MaxSplits(" = ", 1));
    const CLI::Option* option = app.get_option_no_throw(parts.first);
    const bool is_switch =
        option != nullptr && option->get_items_expected_max() == 0;
    return absl::StrCat(parts.first, ": '", parts.second, "' is not ",
                        is_switch ? "true or false" : "a number it can take");
  }
  if (dynamic_cast<const CLI::FileError*>(&error) != nullptr) {
    return absl::StrCat("--config ", ConfigFileOf(app),
                        ": there is no such file, or it may not be read");
  }
  if (dynamic_cast<const CLI::ConfigError*>(&error) != nullptr) {
    absl::string_view name = what;
    if (absl::ConsumePrefix(&name, "INI was not able to parse ")) {
      if (absl::ConsumeSuffix(&name, ".++")) {
        return absl::StrCat(ConfigFileOf(app), ": [", name,
                            "]: there are no sections; write lines such as "
                            "max-queued=1024 alone");
      }
      return absl::StrCat(ConfigFileOf(app), ": there is no flag named ", name);
    }
    absl::ConsumeSuffix(&name,
                        ": This option is not allowed in a configuration file");
    return absl::StrCat(ConfigFileOf(app), ": --", name,
                        " may not be set in a config file");
  }
  return absl::StrReplaceAll(what, {{": Value ", ": "},
                                    {" not in range ", " is not in the range "},
                                    {" not in {", " is none of {"}});
}

}  // namespace

int FailUsage(absl::string_view message) {
  std::fprintf(stderr, "braid: %.*s\n", static_cast<int>(message.size()),
               message.data());
  return kUsageError;
}

absl::StatusOr<std::string> ParseFlags(CLI::App& app,
                                       const std::vector<std::string>& args,
                                       absl::string_view help) {
  try {
    // As CLI11 takes a vector.
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::CallForHelp&) {
    return app.help();
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        WhatIsWrong(app, error), "; `", help, "` lists the flags"));
  }
  return "";
}

std::vector<std::string> EnvironmentArgs(
    CLI::App& app, const std::vector<std::string>& command_line) {
  std::vector<std::string> args;
  for (CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help" || name == "print-config") continue;
    const std::string variable = VariableOf(name);
    const char* value = std::getenv(variable.c_str());
    const bool is_list =
        option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    option->envname(variable);  // for --help
    if (!is_list) {
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
    if (value == nullptr || *value == '\0') continue;
    if (!is_list) {
      args.push_back(absl::StrCat("--", name, "=", value));
    } else if (!Mentions(command_line, name)) {
      for (const absl::string_view each :
           absl::StrSplit(value, '\n', absl::SkipEmpty())) {
        args.push_back(absl::StrCat("--", name, "=", each));
      }
    }
  }
  return args;
}

std::vector<std::string> UnknownVariables(const CLI::App& app) {
  std::vector<std::string> unknown;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const absl::string_view text = *entry;
    const absl::string_view name = text.substr(0, text.find('='));
    if (!absl::StartsWith(name, "BRAID_") || IsOfKubernetes(name)) continue;
    const auto options = app.get_options();
    const bool known =
        std::ranges::any_of(options, [&](const CLI::Option* option) {
          return name == VariableOf(option->get_single_name());
        });
    if (!known) unknown.emplace_back(name);
  }
  std::ranges::sort(unknown);
  return unknown;
}

std::string WithOrigin(absl::string_view message,
                       const std::vector<std::string>& command_line,
                       absl::string_view config) {
  absl::string_view flag = FlagOf(message);
  if (!absl::ConsumePrefix(&flag, "--") || Mentions(command_line, flag)) {
    return std::string(message);
  }
  const std::string variable = VariableOf(flag);
  const char* value = std::getenv(variable.c_str());
  if (value != nullptr && *value != '\0') {
    return absl::StrCat(variable, ": ", message);
  }
  return config.empty() ? std::string(message)
                        : absl::StrCat(config, ": ", message);
}

}  // namespace braid::server
