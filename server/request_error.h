// Trouble with a request as an absl::Status that remembers which field is to
// blame, so that HTTP can answer with OpenAI's error object and gRPC with its
// own codes.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace braid::server {

// INVALID_ARGUMENT about `param` ("messages[0].content").
absl::Status InvalidField(absl::string_view param, absl::string_view message);

// Adds OpenAI's machine-readable reason ("context_length_exceeded").
absl::Status WithCode(absl::Status status, absl::string_view code);

// Adds when trying again is worth it. REQUIRES: seconds > 0.
absl::Status WithRetryAfter(absl::Status status, double seconds);
std::optional<double> RetryAfter(const absl::Status& status);

// An HTTP status and OpenAI's {"error":{message,type,param,code}}.
struct ApiError {
  int http_status = 500;
  std::string message;
  std::string type;
  std::optional<std::string> param;
  std::optional<std::string> code;
  std::optional<double> retry_after;  // seconds
};

// The text of INTERNAL and UNKNOWN errors is not shown to clients.
ApiError ToApiError(const absl::Status& status);
std::string ToJson(const ApiError& error);

}  // namespace braid::server
