// The HTTP/1.1 server: a listening socket and a few threads, each with its own
// event loop. A connection belongs to one loop for life, so sessions need no
// locks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/http/cors.h"
#include "server/http/message.h"
#include "server/http/router.h"

namespace braid::server {

struct HttpServerConfig {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: any
  int threads = 2;
  HttpLimits limits;
  CorsPolicy cors;
  // Called on a loop's thread when a response's status is decided.
  std::function<void(absl::string_view route, int status)> on_response;
};

class HttpServer final {
 public:
  // Binds and begins to serve. INVALID_ARGUMENT: the host is no address of this
  // machine; ALREADY_EXISTS: the port is taken. `router` outlives the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      HttpServerConfig config, const Router* router);
  ~HttpServer();  // Stop(0)

  uint16_t port() const;

  // Requests from now on are `router`'s, which outlives the server. The one
  // before it may still be in use: it lives as long. Thread-safe.
  void Serve(const Router* router);

  // Closes the listening socket and idle connections, lets answers that are
  // under way finish for at most `grace`, and joins the threads. Wakers stay
  // callable until the server is destroyed. Idempotent.
  void Stop(std::chrono::milliseconds grace);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace braid::server
