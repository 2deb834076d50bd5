#include "server/class_spec.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace braid::server {
namespace {

// Each has some ten histograms of its own in /metrics.
constexpr size_t kMaxClasses = 16;
constexpr size_t kMaxNameBytes = 64;
constexpr uint32_t kMaxQueued = 1'000'000;

template <typename... Parts>
absl::Status Invalid(absl::string_view spec, const Parts&... parts) {
  return absl::InvalidArgumentError(
      absl::StrCat("--class ", spec, ": ", parts...,
                   "; write e.g. interactive:ttft=2s,tpot=100ms,queue=1024"));
}

// It is a label of metrics and a value of headers.
bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::ranges::all_of(name, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '-' || c == '_' || c == '.';
         });
}

absl::StatusOr<ServiceClass> ParseClass(absl::string_view spec,
                                        uint32_t max_queued) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(spec, absl::MaxSplits(':', 1));
  ServiceClass parsed = DefaultServiceClasses().front();
  parsed.name = std::string(parts.first);
  parsed.max_queued = max_queued;
  if (!IsName(parts.first)) {
    return Invalid(spec, "a name has 1 to ", kMaxNameBytes,
                   " letters, digits, '-', '_' and '.'");
  }
  for (const absl::string_view field :
       absl::StrSplit(parts.second, ',', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    const auto& [key, value] = pair;
    if (key == "queue") {
      if (!absl::SimpleAtoi(value, &parsed.max_queued) ||
          parsed.max_queued == 0 || parsed.max_queued > kMaxQueued) {
        return Invalid(spec, "queue must be between 1 and ", kMaxQueued);
      }
    } else if (key == "ttft" || key == "tpot") {
      const absl::StatusOr<Duration> time = ParseDuration(value);
      if (!time.ok()) {
        return Invalid(spec, key, ": ", time.status().message());
      }
      (key == "ttft" ? parsed.ttft : parsed.tpot) = *time;
    } else {
      return Invalid(spec, "'", key, "' is none of ttft, tpot and queue");
    }
  }
  return parsed;
}

}  // namespace

absl::StatusOr<Duration> ParseDuration(absl::string_view text) {
  struct Unit {
    absl::string_view name;
    double seconds;
  };
  // "ms" before "s", its end.
  static constexpr std::array<Unit, 3> kUnits = {
      {{"ms", 1e-3}, {"s", 1}, {"m", 60}}};
  for (const Unit& unit : kUnits) {
    absl::string_view number = text;
    double count = 0;
    if (!absl::ConsumeSuffix(&number, unit.name)) continue;
    if (!absl::SimpleAtod(number, &count)) break;
    const double seconds = count * unit.seconds;
    if (!(seconds >= 1e-3 && seconds <= 86400)) break;
    return std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(seconds));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", text, "' is no time between 1ms and 1440m, such as 100ms or 2s"));
}

absl::StatusOr<std::vector<ServiceClass>> ParseServiceClasses(
    const std::vector<std::string>& specs, uint32_t max_queued) {
  std::vector<ServiceClass> classes;
  if (specs.empty()) {
    classes = DefaultServiceClasses();
    for (ServiceClass& each : classes) each.max_queued = max_queued;
    return classes;
  }
  if (specs.size() > kMaxClasses) {
    return absl::InvalidArgumentError(
        absl::StrCat("--class: at most ", kMaxClasses, " are possible"));
  }
  for (const std::string& spec : specs) {
    BRAID_ASSIGN_OR_RETURN(ServiceClass parsed, ParseClass(spec, max_queued));
    if (std::ranges::count(classes, parsed.name, &ServiceClass::name) > 0) {
      return Invalid(spec, "the name is used twice");
    }
    classes.push_back(std::move(parsed));
  }
  return classes;
}

std::string ToString(const ServiceClass& service_class) {
  const auto milliseconds = [](Duration d) { return ToSeconds(d) * 1e3; };
  return absl::StrCat(service_class.name,
                      ":ttft=", milliseconds(service_class.ttft),
                      "ms,tpot=", milliseconds(service_class.tpot),
                      "ms,queue=", service_class.max_queued);
}

}  // namespace braid::server
