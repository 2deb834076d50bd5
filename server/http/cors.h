// Which pages of other origins may use this server from a browser (CORS).
//
// A browser asks before it sends a request with a JSON body or a key to another
// origin than the page's (a preflight), and shows the page no answer that does
// not allow it. Nothing here keeps other programs out: keys do that.
//
// Immutable; any thread may use it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/http/message.h"

namespace braid::server {

class CorsPolicy final {
 public:
  // Pages that this machine serves, from any port ("http://localhost:5173"),
  // and no others: a web site that somebody happens to visit does not get at a
  // server of theirs that asks for no key.
  CorsPolicy() = default;

  // Also `origins`, as browsers write them ("https://chat.example.org"); or
  // "*", all; or "none", not even this machine's. INVALID_ARGUMENT for what no
  // browser would send.
  static absl::StatusOr<CorsPolicy> Create(std::vector<std::string> origins);

  const std::vector<std::string>& origins() const { return origins_; }

  // What every answer to `request` carries.
  HttpHeaders HeadersFor(const HttpRequest& request) const;
  // The answer to a preflight; nothing where the request is none.
  std::optional<HttpResponse> Preflight(const HttpRequest& request) const;

 private:
  bool Allows(absl::string_view origin) const;

  std::vector<std::string> origins_;
  bool local_ = true, any_ = false;
};

}  // namespace braid::server
