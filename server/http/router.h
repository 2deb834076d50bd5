// Which handler answers a request: by exact path, or by the path's beginning.
//
// Filled before the server starts, immutable after; any thread may route.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/http/message.h"

namespace braid::server {

enum class Access : uint8_t { kOpen, kNeedsKey };

class Router final {
 public:
  // `api_key` empty: nothing needs a key.
  explicit Router(std::string api_key) : api_key_(std::move(api_key)) {}

  // A path ending in '/' stands for everything longer that begins with it.
  void Add(std::string method, std::string path, Access access,
           HttpHandler handler);

  struct Routed {
    absl::string_view route;  // as added; "other" when there is none
    HttpReply reply;
  };
  // 404, 405 with Allow, 401, 415, or what the handler answers. A HEAD request
  // is answered like a GET.
  Routed Route(const HttpRequest& request, Waker wake) const;

 private:
  struct Entry {
    std::string method, path;
    Access access;
    HttpHandler handler;
  };
  bool MayEnter(const Entry& entry, const HttpRequest& request) const;

  std::string api_key_;
  std::vector<Entry> entries_;
};

}  // namespace braid::server
