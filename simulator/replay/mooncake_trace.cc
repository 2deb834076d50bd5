#include <simdjson.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "simulator/replay/trace_formats.h"

namespace braid {
namespace {

using simdjson::dom::element;

// A whole number in [least, most], or an error that names it.
absl::StatusOr<int64_t> Whole(const element& object, const char* key,
                              int64_t least, int64_t most) {
  double value = 0;
  if (object[key].get(value) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", key, "\" is missing or not a number"));
  }
  if (!(value >= least && value <= most)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", key, "\" is ", value, "; expected ", least, " to ", most));
  }
  return static_cast<int64_t>(value);
}

class Reader {
 public:
  explicit Reader(Trace& trace) : trace_(trace) {}

  absl::Status Add(const element& row) {
    TraceRequest request;
    double stamp = 0;
    if (row["timestamp"].get(stamp) != simdjson::SUCCESS || !(stamp >= 0)) {
      return absl::InvalidArgumentError(
          "\"timestamp\" is missing or not a number of milliseconds");
    }
    request.arrival = stamp * 1e-3;
    BRAID_ASSIGN_OR_RETURN(const int64_t prompt,
                           Whole(row, "input_length", 1, kMaxTraceTokens));
    BRAID_ASSIGN_OR_RETURN(const int64_t output,
                           Whole(row, "output_length", 0, kMaxTraceTokens));
    request.prompt_tokens = static_cast<uint32_t>(prompt);
    request.output_tokens = static_cast<uint32_t>(output);
    BRAID_RETURN_IF_ERROR(AddBlocks(row, request));
    if (!trace_.requests.empty() &&
        request.arrival < trace_.requests.back().arrival) {
      return absl::InvalidArgumentError(
          "\"timestamp\" is earlier than that of the line before");
    }
    trace_.requests.push_back(request);
    return absl::OkStatus();
  }

 private:
  absl::Status AddBlocks(const element& row, TraceRequest& request) {
    simdjson::dom::array ids;
    if (row["hash_ids"].get(ids) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError("\"hash_ids\" is missing or no list");
    }
    request.first_block = trace_.blocks.size();
    for (element id : ids) {
      uint64_t value = 0;
      if (id.get(value) != simdjson::SUCCESS) {
        return absl::InvalidArgumentError(
            "\"hash_ids\" holds something that is not a whole number");
      }
      const auto [it, fresh] = dense_.emplace(value, trace_.distinct_blocks);
      if (fresh && trace_.distinct_blocks++ == kMaxTraceBlocks) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than ", kMaxTraceBlocks, " distinct blocks"));
      }
      trace_.blocks.push_back(it->second);
    }
    const uint64_t count = trace_.blocks.size() - request.first_block;
    const uint64_t needed =
        (request.prompt_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
    if (count != needed) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"hash_ids\" has ", count, " blocks of 512 tokens, but ",
          request.prompt_tokens, " prompt tokens make ", needed));
    }
    return absl::OkStatus();
  }

  Trace& trace_;
  absl::flat_hash_map<uint64_t, uint32_t> dense_;
};

}  // namespace

absl::Status ReadMooncake(const std::string& path, absl::string_view text,
                          uint64_t max_requests, Trace& trace) {
  simdjson::dom::parser parser;
  Reader reader(trace);
  size_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++line;
    size_t end = text.find('\n', begin);
    if (end == absl::string_view::npos) end = text.size();
    const absl::string_view row = text.substr(begin, end - begin);
    begin = end + 1;
    if (row.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    if (max_requests > 0 && trace.requests.size() == max_requests) break;
    if (trace.requests.size() == kMaxTraceRequests) {
      return AtLine(path, line, "too many requests");
    }
    element parsed;
    const auto error = parser.parse(row.data(), row.size()).get(parsed);
    if (error != simdjson::SUCCESS) {
      return AtLine(path, line, simdjson::error_message(error));
    }
    if (absl::Status status = reader.Add(parsed); !status.ok()) {
      return AtLine(path, line, status.message());
    }
  }
  return absl::OkStatus();
}

}  // namespace braid
