// Which handler answers a request: by exact path, or by the path's beginning.
//
// Filled before the server starts, immutable after; any thread may route.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/api_keys.h"
#include "server/http/message.h"

namespace braid::server {

enum class Access : uint8_t { kOpen, kNeedsKey };

class Router final {
 public:
  explicit Router(ApiKeys keys) : keys_(std::move(keys)) {}

  // A path ending in '/' stands for everything longer that begins with it; the
  // root alone for itself.
  void Add(std::string method, std::string path, Access access,
           HttpHandler handler);

  // Answers what matches no path, in place of a 404.
  void AddFallback(HttpHandler handler) { fallback_ = std::move(handler); }

  std::vector<std::string> Routes() const;  // "GET /v1/models"

  struct Routed {
    absl::string_view route;  // as added; "other" when there is none
    HttpReply reply;
  };
  // 404, 405 with Allow, 401, 415, or what the handler answers. A HEAD request
  // is answered like a GET. Fills in the request's caller.
  Routed Route(HttpRequest& request, Waker wake) const;

 private:
  struct Entry {
    std::string method, path;
    Access access;
    HttpHandler handler;
  };
  std::optional<Caller> CallerOf(const HttpRequest& request) const;
  HttpResponse NoSuchPath(absl::string_view path) const;

  const ApiKeys keys_;
  std::vector<Entry> entries_;
  HttpHandler fallback_;  // may be empty
};

}  // namespace braid::server
