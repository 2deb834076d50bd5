#include "server/http/cors.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace braid::server {
namespace {

constexpr char kAllowOrigin[] = "Access-Control-Allow-Origin";

// "http://localhost:5173" -> "localhost"; empty where there is no host.
absl::string_view HostOf(absl::string_view origin) {
  if (!absl::ConsumePrefix(&origin, "http://") &&
      !absl::ConsumePrefix(&origin, "https://")) {
    return {};
  }
  if (absl::StartsWith(origin, "[")) {
    return origin.substr(0, origin.find(']') + 1);
  }
  return origin.substr(0, origin.find(':'));
}

bool IsLocal(absl::string_view origin) {
  const absl::string_view host = HostOf(origin);
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]" ||
         absl::EndsWith(host, ".localhost");
}

// A scheme, a host and perhaps a port, in lower case: browsers compare nothing
// else, and send nothing else.
bool IsOrigin(absl::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme == 0 || scheme == absl::string_view::npos) return false;
  const absl::string_view rest = text.substr(scheme + 3);
  return !rest.empty() && std::ranges::none_of(text, [](unsigned char c) {
    return absl::ascii_isupper(c) || absl::ascii_isspace(c) || c == '*';
  }) && rest.find_first_of("/?#@") == absl::string_view::npos;
}

}  // namespace

absl::StatusOr<CorsPolicy> CorsPolicy::Create(
    std::vector<std::string> origins) {
  CorsPolicy policy;
  for (const std::string& origin : origins) {
    if (origin == "*") {
      policy.any_ = true;
    } else if (origin == "none" && origins.size() == 1) {
      policy.local_ = false;
    } else if (!IsOrigin(origin)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", origin,
                       "' is not an origin; write e.g. "
                       "https://chat.example.org, * for all, or none alone"));
    }
  }
  policy.origins_ = std::move(origins);
  return policy;
}

bool CorsPolicy::Allows(absl::string_view origin) const {
  return any_ || (local_ && IsLocal(origin)) ||
         std::ranges::find(origins_, origin) != origins_.end();
}

HttpHeaders CorsPolicy::HeadersFor(const HttpRequest& request) const {
  const absl::string_view origin = request.Header("origin");
  if (origin.empty()) return {};
  if (!Allows(origin)) return {{"Vary", "Origin"}};
  return {{kAllowOrigin, std::string(any_ ? "*" : origin)},
          {"Vary", "Origin"},
          {"Access-Control-Expose-Headers",
           "x-request-id, x-ignored-fields, Retry-After, retry-after-ms"}};
}

std::optional<HttpResponse> CorsPolicy::Preflight(
    const HttpRequest& request) const {
  const absl::string_view origin = request.Header("origin");
  if (request.method != "OPTIONS" || origin.empty() ||
      request.Header("access-control-request-method").empty()) {
    return std::nullopt;
  }
  if (!Allows(origin)) {
    return ErrorResponse(403, "permission_error",
                         absl::StrCat("pages of ", origin.substr(0, 200),
                                      " may not use this server; start it with "
                                      "--allowed-origin ",
                                      origin.substr(0, 200)));
  }
  HttpResponse response;
  response.content_type = "text/plain";
  // The headers are the client library's business: OpenAI's sends a dozen.
  response.headers = {
      {"Access-Control-Allow-Methods", "GET, HEAD, POST"},
      {"Access-Control-Allow-Headers",
       std::string(request.Header("access-control-request-headers"))},
      {"Access-Control-Max-Age", "600"}};
  return response;
}

}  // namespace braid::server
