// HTTP as handlers see it: plain values, no sockets.
//
// Threads: a handler and the callbacks of its reply run on the thread of the
// connection; a Waker may be called from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/api_keys.h"

namespace braid::server {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;   // without the query
  std::string query;  // what stands behind '?', still encoded
  HttpHeaders headers;
  std::string body;
  std::string id;  // x-request-id of the client, or made up
  Caller caller;   // filled in by the router

  // Value of the first header of that name, whatever its case; or empty.
  absl::string_view Header(absl::string_view name) const;
  // Value of the first parameter of that name in the query; or empty. Meant for
  // numbers and words: nothing is decoded.
  absl::string_view Parameter(absl::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HttpHeaders headers;
  std::string body;
};
HttpResponse JsonResponse(std::string body);
HttpResponse ErrorResponse(const absl::Status& status);
// An error that only HTTP knows (404 for a path, 405, 413 ...).
HttpResponse ErrorResponse(int status, absl::string_view type,
                           absl::string_view message);
absl::string_view ReasonPhrase(int status);

// A response that comes later as a whole. `poll` is called after each wake-up
// until it returns one; `cancel` instead, when the client has gone.
struct LaterResponse {
  std::function<std::optional<HttpResponse>()> poll;
  std::function<void()> cancel;
};

struct Pulled {
  bool more = true;
  // There will be no stream, and this is the answer: only before it has begun.
  std::optional<HttpResponse> instead;
};

// A response that comes in pieces. `pull` is called at once, after each wake-up
// and after each completed write; it appends what is ready. The stream begins,
// with its head, with the first piece, so that what is refused at the start has
// its own status; or after a patience, so that nothing on the way gives up.
// `ping` is sent in long silences.
struct StreamedResponse {
  std::string content_type;
  HttpHeaders headers;
  std::function<Pulled(std::string& out, bool begun)> pull;
  std::function<void()> cancel;
  std::string ping;
};

using HttpReply = std::variant<HttpResponse, LaterResponse, StreamedResponse>;
using Waker = std::function<void()>;
using HttpHandler = std::function<HttpReply(const HttpRequest&, Waker)>;

struct HttpLimits {
  size_t header_bytes = 32 << 10;
  uint64_t body_bytes = 8 << 20;
  uint32_t connections = 1024;
  // A request's header, and then its body, must arrive within these; between
  // requests a connection may rest for `idle`; a write that makes no progress
  // for `write_stall` is given up.
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};
  std::chrono::milliseconds idle_timeout{75'000};
  std::chrono::milliseconds write_stall{30'000};
  std::chrono::milliseconds ping_interval{5'000};
  // How long a stream's head waits for its first piece. Proxies give up on a
  // silent server after 30 s and more.
  std::chrono::milliseconds head_patience{20'000};
  // After an answer to a request that was not read to its end: how long to go
  // on reading, so that the client sees the answer and no reset.
  std::chrono::milliseconds linger{5'000};
};

}  // namespace braid::server
