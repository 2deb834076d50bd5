#include <array>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "simulator/replay/trace_formats.h"

namespace braid {
namespace {

// "2023-11-16 18:15:46.6805900" in seconds since the year 0 of the proleptic
// calendar. Own arithmetic: time zones and locales stay out of it.
absl::StatusOr<double> Seconds(absl::string_view stamp) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat(
        "TIMESTAMP \"", stamp, "\" is not YYYY-MM-DD HH:MM:SS.fffffff"));
  };
  if (stamp.size() < 19 || stamp[4] != '-' || stamp[7] != '-' ||
      (stamp[10] != ' ' && stamp[10] != 'T') || stamp[13] != ':' ||
      stamp[16] != ':') {
    return bad();
  }
  std::array<int, 5> fields;  // year, month, day, hour, minute
  constexpr std::array<std::pair<int, int>, 5> kPlaces = {
      {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}}};
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto [at, length] = kPlaces[i];
    if (!absl::SimpleAtoi(stamp.substr(at, length), &fields[i])) return bad();
  }
  double second = 0;
  if (!absl::SimpleAtod(stamp.substr(17), &second)) return bad();
  auto [year, month, day, hour, minute] = fields;
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59 || !(second >= 0 && second < 61)) {
    return bad();
  }
  // Days from civil (Hinnant): the year begins in March.
  const int y = month <= 2 ? year - 1 : year;
  const int days = 365 * y + y / 4 - y / 100 + y / 400 +
                   (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return (days * 24.0 + hour) * 3600 + minute * 60 + second;
}

absl::Status AddRow(absl::string_view row, double& origin, Trace& trace) {
  const std::vector<absl::string_view> fields = absl::StrSplit(row, ',');
  if (fields.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", fields.size(), " fields; expected 3"));
  }
  TraceRequest request;
  int64_t prompt = 0, output = 0;
  if (!absl::SimpleAtoi(fields[1], &prompt) || prompt < 1 ||
      prompt > kMaxTraceTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("ContextTokens \"", fields[1], "\" is no length"));
  }
  if (!absl::SimpleAtoi(fields[2], &output) || output < 0 ||
      output > kMaxTraceTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("GeneratedTokens \"", fields[2], "\" is no length"));
  }
  BRAID_ASSIGN_OR_RETURN(const double seconds, Seconds(fields[0]));
  if (trace.requests.empty()) origin = seconds;
  // Rounded to 100 ns, as they are written.
  request.arrival = std::round((seconds - origin) * 1e7) / 1e7;
  if (!trace.requests.empty() &&
      request.arrival < trace.requests.back().arrival) {
    return absl::InvalidArgumentError("TIMESTAMP goes back");
  }
  request.prompt_tokens = static_cast<uint32_t>(prompt);
  request.output_tokens = static_cast<uint32_t>(output);
  BRAID_RETURN_IF_ERROR(AddOwnBlocks(trace, request));
  trace.requests.push_back(request);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadAzure(const std::string& path, absl::string_view text,
                       uint64_t max_requests, Trace& trace) {
  size_t line = 0;
  double origin = 0;
  for (absl::string_view row : absl::StrSplit(text, '\n')) {
    ++line;
    row = absl::StripSuffix(row, "\r");
    if (line == 1) {
      if (row != "TIMESTAMP,ContextTokens,GeneratedTokens") {
        return AtLine(path, 1,
                      "neither JSON lines (Mooncake) nor the header "
                      "TIMESTAMP,ContextTokens,GeneratedTokens (Azure)");
      }
      continue;
    }
    if (row.empty()) continue;
    if (max_requests > 0 && trace.requests.size() == max_requests) break;
    if (trace.requests.size() == kMaxTraceRequests) {
      return AtLine(path, line, "too many requests");
    }
    if (absl::Status status = AddRow(row, origin, trace); !status.ok()) {
      return AtLine(path, line, status.message());
    }
  }
  return absl::OkStatus();
}

}  // namespace braid
