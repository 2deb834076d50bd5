#include "server/http/router.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace braid::server {
namespace {

bool Matches(absl::string_view route, absl::string_view path) {
  if (route == "/" || !absl::EndsWith(route, "/")) return route == path;
  return absl::StartsWith(path, route) && path.size() > route.size();
}

// JSON, or nothing said about it.
bool AcceptsBody(absl::string_view content_type) {
  const absl::string_view media =
      content_type.substr(0, content_type.find(';'));
  return media.empty() ||
         absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(media),
                                "application/json");
}

}  // namespace

void Router::Add(std::string method, std::string path, Access access,
                 HttpHandler handler) {
  entries_.push_back(
      {std::move(method), std::move(path), access, std::move(handler)});
}

std::vector<std::string> Router::Routes() const {
  std::vector<std::string> routes;
  for (const Entry& entry : entries_) {
    routes.push_back(absl::StrCat(entry.method, " ", entry.path));
  }
  return routes;
}

std::optional<Caller> Router::CallerOf(const HttpRequest& request) const {
  constexpr absl::string_view kScheme = "Bearer ";  // in any case
  absl::string_view key = request.Header("authorization");
  if (absl::StartsWithIgnoreCase(key, kScheme)) {
    key.remove_prefix(kScheme.size());
  } else {
    key = request.Header("x-api-key");
  }
  return keys_.Find(key);
}

// Base URLs are given with and without /v1, and with a slash at the end.
HttpResponse Router::NoSuchPath(absl::string_view path) const {
  std::string message = absl::StrCat("no such path: ", path.substr(0, 200));
  const absl::string_view bare = absl::StripSuffix(path, "/");
  for (const std::string& meant :
       {std::string(bare), absl::StrCat("/v1", bare),
        std::string(absl::StripPrefix(bare, "/v1"))}) {
    if (std::ranges::none_of(entries_, [&](const Entry& entry) {
          return entry.path == meant;
        })) {
      continue;
    }
    absl::StrAppend(&message, "; is ", meant, " meant?");
    break;
  }
  return ErrorResponse(404, "not_found_error", message);
}

Router::Routed Router::Route(HttpRequest& request, Waker wake) const {
  const absl::string_view method =
      request.method == "HEAD" ? "GET" : absl::string_view(request.method);
  std::string allowed;
  for (const Entry& entry : entries_) {
    if (!Matches(entry.path, request.path)) continue;
    if (entry.method != method) {
      absl::StrAppend(&allowed, allowed.empty() ? "" : ", ", entry.method);
      continue;
    }
    if (keys_.needed() && entry.access == Access::kNeedsKey) {
      const std::optional<Caller> caller = CallerOf(request);
      if (!caller) {
        HttpResponse response = ErrorResponse(absl::UnauthenticatedError(
            "missing or wrong API key; send it as 'Authorization: Bearer "
            "KEY'"));
        response.headers.emplace_back("WWW-Authenticate", "Bearer");
        return {entry.path, std::move(response)};
      }
      request.caller = *caller;
    }
    if (method == "POST" && !AcceptsBody(request.Header("content-type"))) {
      return {entry.path,
              ErrorResponse(415, "invalid_request_error",
                            "the body must be JSON; send Content-Type: "
                            "application/json")};
    }
    return {entry.path, entry.handler(request, std::move(wake))};
  }
  if (allowed.empty() && fallback_) {
    return {"other", fallback_(request, std::move(wake))};
  }
  if (allowed.empty()) return {"other", NoSuchPath(request.path)};
  HttpResponse response = ErrorResponse(
      405, "invalid_request_error",
      absl::StrCat(request.method, " is not allowed here; use ", allowed));
  response.headers.emplace_back("Allow", allowed);
  return {"other", std::move(response)};
}

}  // namespace braid::server
