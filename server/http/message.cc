#include "server/http/message.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/request_error.h"

namespace braid::server {

absl::string_view HttpRequest::Header(absl::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (absl::EqualsIgnoreCase(key, name)) return value;
  }
  return {};
}

absl::string_view HttpRequest::Parameter(absl::string_view name) const {
  for (const absl::string_view pair : absl::StrSplit(query, '&')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(pair, absl::MaxSplits('=', 1));
    if (parts.first == name) return parts.second;
  }
  return {};
}

HttpResponse JsonResponse(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

HttpResponse ErrorResponse(const absl::Status& status) {
  const ApiError error = ToApiError(status);
  HttpResponse response;
  response.status = error.http_status;
  response.body = ToJson(error);
  // Both statuses pass by themselves, so they always have one: a queue drains,
  // a restart ends. HTTP's own header has whole seconds, and most queues drain
  // in less; OpenAI's clients read the other one first.
  if (error.retry_after || error.http_status == 429 ||
      error.http_status == 503) {
    const double seconds =
        std::clamp(error.retry_after.value_or(1), 0.001, 86400.0);
    const auto header = [&](const char* name, double value) {
      response.headers.emplace_back(
          name, absl::StrCat(static_cast<int>(std::ceil(value))));
    };
    header("Retry-After", seconds);
    header("retry-after-ms", seconds * 1e3);
  }
  return response;
}

HttpResponse ErrorResponse(int status, absl::string_view type,
                           absl::string_view message) {
  ApiError error;
  error.http_status = status;
  error.type = std::string(type);
  error.message = std::string(message);
  HttpResponse response;
  response.status = status;
  response.body = ToJson(error);
  return response;
}

absl::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

}  // namespace braid::server
