#include "bench/load/record.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "model/json_value.h"

namespace braid::load {

const char* ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kUnfinished:
      return "unfinished";
    case Outcome::kNotSent:
      return "not_sent";
  }
  return "?";
}

double Record::tpot() const {
  const int64_t tokens = output_tokens >= 0 ? output_tokens : token_events;
  if (tokens < 2) return 0;
  return (last_token - first_token) / static_cast<double>(tokens - 1);
}

bool Record::Meets(double ttft_limit, double tpot_limit) const {
  return outcome == Outcome::kOk && ttft() <= ttft_limit &&
         tpot() <= tpot_limit;
}

void AppendJsonLine(const Record& record, std::string& out) {
  absl::StrAppendFormat(
      &out,
      "{\"index\":%u,\"due\":%.6f,\"sent\":%.6f,\"first_token\":%.6f,"
      "\"last_token\":%.6f,\"ended\":%.6f,\"outcome\":\"%s\",\"status\":%d,"
      "\"retry_after\":%.3f,\"prompt_asked\":%u,\"output_asked\":%u,"
      "\"prompt_tokens\":%d,\"output_tokens\":%d,\"token_events\":%u,"
      "\"longest_gap\":%.6f",
      record.index, record.due, record.sent, record.first_token,
      record.last_token, record.ended, ToString(record.outcome), record.status,
      record.retry_after, record.prompt_asked, record.output_asked,
      record.prompt_tokens, record.output_tokens, record.token_events,
      record.longest_gap);
  if (!record.token_times.empty()) {
    out += ",\"token_times\":[";
    for (size_t i = 0; i < record.token_times.size(); ++i) {
      absl::StrAppendFormat(&out, "%s%.6f", i == 0 ? "" : ",",
                            record.token_times[i]);
    }
    out += ']';
  }
  if (record.mean_streams >= 0) {
    absl::StrAppendFormat(&out, ",\"mean_streams\":%.6g", record.mean_streams);
  }
  if (!record.tokens_by_streams.empty()) {
    absl::StrAppend(&out, ",\"tokens_by_streams\":[",
                    absl::StrJoin(record.tokens_by_streams, ","), "]");
  }
  if (!record.timings.empty()) {
    JsonValue::Object timings;
    for (const auto& [name, value] : record.timings) {
      timings.emplace_back(name, value);
    }
    absl::StrAppend(&out, ",\"timings\":", ToJson(JsonValue(timings)));
  }
  if (!record.error.empty()) {
    absl::StrAppend(&out, ",\"error\":", ToJson(JsonValue(record.error)));
  }
  out += "}\n";
}

}  // namespace braid::load
