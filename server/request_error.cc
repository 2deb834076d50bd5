#include "server/request_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/json_value.h"

namespace braid::server {
namespace {

constexpr char kParamUrl[] = "braid/param";
constexpr char kCodeUrl[] = "braid/code";
constexpr char kRetryAfterUrl[] = "braid/retry-after";

std::optional<std::string> Payload(const absl::Status& status,
                                   const char* url) {
  const auto payload = status.GetPayload(url);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

void AppendNullable(absl::string_view key,
                    const std::optional<std::string>& value, std::string& out) {
  absl::StrAppend(&out, ",\"", key, "\":");
  if (!value.has_value()) {
    out += "null";
    return;
  }
  out += '"';
  AppendJsonEscaped(*value, out);
  out += '"';
}

}  // namespace

absl::Status InvalidField(absl::string_view param, absl::string_view message) {
  absl::Status status =
      absl::InvalidArgumentError(absl::StrCat(param, ": ", message));
  status.SetPayload(kParamUrl, absl::Cord(param));
  return status;
}

absl::Status WithCode(absl::Status status, absl::string_view code) {
  status.SetPayload(kCodeUrl, absl::Cord(code));
  return status;
}

absl::Status WithRetryAfter(absl::Status status, double seconds) {
  status.SetPayload(kRetryAfterUrl, absl::Cord(absl::StrCat(seconds)));
  return status;
}

std::optional<double> RetryAfter(const absl::Status& status) {
  const std::optional<std::string> text = Payload(status, kRetryAfterUrl);
  double seconds = 0;
  if (!text || !absl::SimpleAtod(*text, &seconds)) return std::nullopt;
  return seconds;
}

ApiError ToApiError(const absl::Status& status) {
  ApiError error;
  error.message = std::string(status.message());
  error.param = Payload(status, kParamUrl);
  error.code = Payload(status, kCodeUrl);
  error.retry_after = RetryAfter(status);
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      error.http_status = 400;
      error.type = "invalid_request_error";
      break;
    case absl::StatusCode::kUnauthenticated:
      error.http_status = 401;
      error.type = "authentication_error";
      break;
    case absl::StatusCode::kNotFound:
      error.http_status = 404;
      error.type = "not_found_error";
      break;
    case absl::StatusCode::kResourceExhausted:
      error.http_status = 429;
      error.type = "overloaded_error";
      if (!error.code) error.code = "overloaded";
      break;
    case absl::StatusCode::kUnimplemented:
      error.http_status = 400;
      error.type = "invalid_request_error";
      if (!error.code) error.code = "unsupported";
      break;
    case absl::StatusCode::kUnavailable:
      error.http_status = 503;
      error.type = "unavailable_error";
      break;
    case absl::StatusCode::kCancelled:
      error.http_status = 499;
      error.type = "cancelled_error";
      break;
    case absl::StatusCode::kDeadlineExceeded:
      error.http_status = 504;
      error.type = "timeout_error";
      break;
    default:
      error.http_status = 500;
      error.type = "internal_error";
      error.message = "internal error; the server's log says more";
      break;
  }
  return error;
}

std::string ToJson(const ApiError& error) {
  std::string out = "{\"error\":{\"message\":\"";
  AppendJsonEscaped(error.message, out);
  absl::StrAppend(&out, "\",\"type\":\"", error.type, "\"");
  AppendNullable("param", error.param, out);
  AppendNullable("code", error.code, out);
  out += "}}";
  return out;
}

}  // namespace braid::server
