#include "bench/load/workload.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/check.h"

namespace braid::load {
namespace {

absl::StatusOr<TraceRow> ParseRow(absl::string_view line, size_t number,
                                  absl::Time& first) {
  const std::vector<absl::string_view> cells = absl::StrSplit(line, ',');
  TraceRow row;
  absl::Time time;
  std::string error;
  if (cells.size() != 3 ||
      !absl::ParseTime("%Y-%m-%d %H:%M:%E*S", cells[0], &time, &error) ||
      !absl::SimpleAtoi(cells[1], &row.prompt_tokens) ||
      !absl::SimpleAtoi(cells[2], &row.output_tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", number, " of the trace is not ",
                     "'YYYY-MM-DD hh:mm:ss.f,tokens,tokens': ", line));
  }
  if (number == 2) first = time;
  row.at = absl::ToDoubleSeconds(time - first);
  return row;
}

const TraceRow& RowAt(std::span<const TraceRow> rows, size_t i) {
  return rows[i % rows.size()];
}

// Seconds from row i to the next. Behind the last row comes the first, after
// the mean gap.
double GapBehind(std::span<const TraceRow> rows, size_t i) {
  const size_t at = i % rows.size();
  if (at + 1 < rows.size()) return rows[at + 1].at - rows[at].at;
  return rows.back().at / static_cast<double>(rows.size() - 1);
}

std::vector<double> PlanTimes(const WorkloadOptions& options,
                              std::span<const TraceRow> rows, Rng& rng) {
  std::vector<double> times;
  const auto count =
      static_cast<size_t>(std::llround(options.rate * options.seconds));
  double at = 0;
  switch (options.arrivals) {
    case Arrivals::kPoisson:
      while ((at -= std::log1p(-rng.Uniform()) / options.rate) <
             options.seconds) {
        times.push_back(at);
      }
      break;
    case Arrivals::kUniform:
      for (size_t i = 0; i < count; ++i) {
        times.push_back(static_cast<double>(i) / options.rate);
      }
      break;
    case Arrivals::kTrace:
      for (size_t i = 0; i < count; ++i) {
        times.push_back(at);
        at += GapBehind(rows, options.trace_from + i);
      }
      // `at` is now what the rows span: stretched to the time given.
      for (double& time : times) time *= at > 0 ? options.seconds / at : 0;
      break;
    case Arrivals::kClosed:
      times.resize(count, 0);
      break;
  }
  return times;
}

}  // namespace

absl::StatusOr<std::vector<TraceRow>> ParseAzureTrace(std::string_view csv) {
  std::vector<TraceRow> rows;
  size_t number = 0;
  absl::Time first;
  for (absl::string_view line :
       absl::StrSplit(absl::string_view(csv.data(), csv.size()), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (number == 1 || line.empty()) continue;
    absl::StatusOr<TraceRow> row = ParseRow(line, number, first);
    if (!row.ok()) return row.status();
    if (!rows.empty() && row->at < rows.back().at) {
      return absl::InvalidArgumentError(absl::StrCat(
          "line ", number, " of the trace is earlier than the one before it"));
    }
    rows.push_back(*row);
  }
  if (rows.size() < 2) {
    return absl::InvalidArgumentError("the trace has fewer than two rows");
  }
  return rows;
}

absl::StatusOr<LengthSource> LengthSource::Parse(absl::string_view spec) {
  LengthSource source;
  absl::string_view rest = spec;
  bool good = false;
  if (absl::ConsumePrefix(&rest, "trace")) {
    source.scale_ = 1;
    good = rest.empty() || (absl::ConsumePrefix(&rest, "*") &&
                            absl::SimpleAtod(rest, &source.scale_) &&
                            source.scale_ > 0 && std::isfinite(source.scale_));
  } else {
    const std::vector<absl::string_view> ends = absl::StrSplit(spec, '-');
    good = ends.size() <= 2 && absl::SimpleAtoi(ends[0], &source.low_) &&
           absl::SimpleAtoi(ends.back(), &source.high_) && source.low_ >= 1 &&
           source.low_ <= source.high_;
  }
  if (!good) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", spec,
                     "' is no number of tokens: give N, LOW-HIGH, trace or "
                     "trace*FACTOR"));
  }
  return source;
}

uint32_t LengthSource::Draw(uint32_t of_the_row, Rng& rng) const {
  // Drawn whether needed or not: a change of lengths leaves arrivals alone.
  const uint64_t random = rng();
  if (traced()) {
    const double scaled = std::round(of_the_row * scale_);
    return static_cast<uint32_t>(
        std::clamp(scaled, 1.0,
                   static_cast<double>(std::numeric_limits<uint32_t>::max())));
  }
  return low_ + static_cast<uint32_t>(random % (uint64_t{high_} - low_ + 1));
}

std::vector<PlannedRequest> PlanWorkload(const WorkloadOptions& options,
                                         std::span<const TraceRow> rows) {
  BRAID_CHECK(options.rate > 0 && options.seconds > 0);
  const bool traced = options.arrivals == Arrivals::kTrace ||
                      options.prompt.traced() || options.output.traced();
  BRAID_CHECK(!traced || rows.size() >= 2);
  Rng arrivals(options.seed);
  Rng lengths(~options.seed);
  std::vector<PlannedRequest> plan;
  for (const double at : PlanTimes(options, rows, arrivals)) {
    const TraceRow row =
        traced ? RowAt(rows, options.trace_from + plan.size()) : TraceRow{};
    PlannedRequest request;
    request.at = at;
    request.output_tokens =
        std::min(options.output.Draw(row.output_tokens, lengths),
                 std::max(options.max_tokens, 2u) - 1);
    request.prompt_tokens =
        std::min(options.prompt.Draw(row.prompt_tokens, lengths),
                 std::max(options.max_tokens, 2u) - request.output_tokens);
    plan.push_back(request);
  }
  return plan;
}

}  // namespace braid::load
