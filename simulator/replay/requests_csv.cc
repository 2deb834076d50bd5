// A replay's requests one by one: runs that differ in one thing are compared
// request for request.
#include "absl/strings/str_format.h"
#include "simulator/replay/replay_report.h"

namespace braid {

std::string RequestsCsv(const ReplayResult& result) {
  std::string text =
      "end,arrival_s,prompt,cached,output,prefill,decode,admitted_s,"
      "first_token_s,handed_over_s,last_token_s\n";
  for (const RequestOutcome& request : result.requests) {
    absl::StrAppendFormat(
        &text, "%s,%.9f,%d,%d,%d,%d,%d,%.9f,%.9f,%.9f,%.9f\n",
        ToString(request.end), request.arrival, request.prompt, request.cached,
        request.output, request.prefill, request.decode, request.admitted,
        request.first_token, request.handed_over, request.last_token);
  }
  return text;
}

}  // namespace braid
