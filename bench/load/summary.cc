#include "bench/load/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/json_value.h"

namespace braid::load {
namespace {

JsonValue Distribution(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  JsonValue::Object out;
  out.emplace_back("n", static_cast<int64_t>(values.size()));
  double sum = 0;
  for (const double value : values) sum += value;
  out.emplace_back("mean", sum / static_cast<double>(values.size()));
  for (const int p : {50, 90, 95, 99, 100}) {
    out.emplace_back(absl::StrCat("p", p), Percentile(values, p / 100.0));
  }
  return JsonValue(std::move(out));
}

struct Totals {
  int64_t counted = 0, met = 0, shorter = 0;
  int64_t by_outcome[5] = {};
  // Of those that ended inside the window.
  int64_t ended = 0, prompt_tokens = 0, output_tokens = 0;
  std::vector<double> ttft, tpot, gap, lateness, retry_after;
  // PARSCALE, of those answered.
  double streams = 0;
  int64_t streamed_tokens = 0;
  std::vector<int64_t> tokens_by_streams;
};

void Count(const Record& record, const SummaryOptions& options, Totals& t) {
  if (record.sent >= 0) t.lateness.push_back((record.sent - record.due) * 1e3);
  if (record.outcome == Outcome::kOk && record.ended >= options.warm_up &&
      record.ended <= options.seconds) {
    ++t.ended;
    t.prompt_tokens += record.prompt_asked;
    t.output_tokens += std::max<int64_t>(record.output_tokens, 0);
  }
  if (record.due < options.warm_up) return;
  ++t.counted;
  ++t.by_outcome[static_cast<int>(record.outcome)];
  if (record.Meets(options.ttft_limit, options.tpot_limit)) ++t.met;
  if (record.outcome == Outcome::kRefused) {
    t.retry_after.push_back(record.retry_after);
  }
  if (record.outcome != Outcome::kOk) return;
  if (record.output_tokens >= 0 &&
      record.output_tokens < static_cast<int64_t>(record.output_asked)) {
    ++t.shorter;
  }
  if (record.mean_streams >= 0 && record.output_tokens > 0) {
    t.streams +=
        record.mean_streams * static_cast<double>(record.output_tokens);
    t.streamed_tokens += record.output_tokens;
  }
  if (t.tokens_by_streams.size() < record.tokens_by_streams.size()) {
    t.tokens_by_streams.resize(record.tokens_by_streams.size());
  }
  for (size_t p = 0; p < record.tokens_by_streams.size(); ++p) {
    t.tokens_by_streams[p] += record.tokens_by_streams[p];
  }
  t.ttft.push_back(record.ttft() * 1e3);
  if (record.output_tokens > 1) {
    t.tpot.push_back(record.tpot() * 1e3);
    t.gap.push_back(record.longest_gap * 1e3);
  }
}

}  // namespace

double Percentile(std::span<const double> sorted, double p) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double rank = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(rank));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = rank - static_cast<double>(below);
  return sorted[below] * (1 - part) + sorted[above] * part;
}

std::string Summarize(std::span<const Record> records,
                      const SummaryOptions& options) {
  Totals t;
  for (const Record& record : records) Count(record, options, t);
  const double window = options.seconds - options.warm_up;
  const auto of = [](int64_t part, int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  const auto outcome = [&](Outcome o) {
    return t.by_outcome[static_cast<int>(o)];
  };
  JsonValue::Object out;
  out.emplace_back("requests", t.counted);
  for (const Outcome o : {Outcome::kOk, Outcome::kRefused, Outcome::kFailed,
                          Outcome::kUnfinished, Outcome::kNotSent}) {
    out.emplace_back(ToString(o), outcome(o));
  }
  out.emplace_back("shorter_than_asked", t.shorter);
  out.emplace_back("refused_share", of(outcome(Outcome::kRefused), t.counted));
  out.emplace_back("met", t.met);
  out.emplace_back("attainment", of(t.met, t.counted));
  // What was let in and kept its targets: failures count against it.
  out.emplace_back("attainment_of_admitted",
                   of(t.met, t.counted - outcome(Outcome::kRefused) -
                                 outcome(Outcome::kNotSent)));
  out.emplace_back("offered_per_second",
                   static_cast<double>(t.counted) / window);
  out.emplace_back("goodput_per_second", static_cast<double>(t.met) / window);
  out.emplace_back("ended_per_second", static_cast<double>(t.ended) / window);
  out.emplace_back("prompt_tokens_per_second",
                   static_cast<double>(t.prompt_tokens) / window);
  out.emplace_back("output_tokens_per_second",
                   static_cast<double>(t.output_tokens) / window);
  out.emplace_back("ttft_ms", Distribution(t.ttft));
  out.emplace_back("tpot_ms", Distribution(t.tpot));
  out.emplace_back("longest_gap_ms", Distribution(t.gap));
  if (t.streamed_tokens > 0) {
    out.emplace_back("mean_streams",
                     t.streams / static_cast<double>(t.streamed_tokens));
  }
  if (!t.tokens_by_streams.empty()) {
    JsonValue::Array counts;
    for (const int64_t count : t.tokens_by_streams) counts.emplace_back(count);
    out.emplace_back("tokens_by_streams", JsonValue(std::move(counts)));
  }
  out.emplace_back("retry_after_s", Distribution(t.retry_after));
  out.emplace_back("lateness_ms", Distribution(t.lateness));
  out.emplace_back(
      "sender_cpu_ms_per_request",
      options.sender_cpu * 1e3 / static_cast<double>(records.size()));
  return ToJson(JsonValue(std::move(out)));
}

}  // namespace braid::load
