// The readers behind ReadTrace, one per format. Each fills `requests` and
// `blocks` in order of arrival; ReadTrace does the rest.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "simulator/replay/trace.h"

namespace braid {

// Bounds on what a file may ask for.
inline constexpr uint64_t kMaxTraceBytes = uint64_t{2} << 30;
inline constexpr uint64_t kMaxTraceRequests = 20'000'000;
inline constexpr int64_t kMaxTraceTokens = 100'000'000;  // of one request

absl::Status ReadMooncake(const std::string& path, absl::string_view text,
                          uint64_t max_requests, Trace& trace);
absl::Status ReadAzure(const std::string& path, absl::string_view text,
                       uint64_t max_requests, Trace& trace);
absl::Status ReadServeGen(const std::string& folder,
                          const TraceOptions& options, Trace& trace);

// INVALID_ARGUMENT "path:line: message".
absl::Status AtLine(const std::string& path, size_t line,
                    absl::string_view message);

// Gives the request a chain of blocks that no other has.
absl::Status AddOwnBlocks(Trace& trace, TraceRequest& request);

}  // namespace braid
