// `braid serve`: brings a node up, serves until it is told to stop, and takes
// it down again in order.
#pragma once

#include "absl/status/status.h"
#include "server/options.h"

namespace braid::server {

// Blocks until SIGTERM or SIGINT, then drains: /ready is 503 at once, requests
// that run finish within --drain-timeout. A second signal ends the process at
// once. An error means that serving never began, and names the remedy.
//
// REQUIRES: called before any other thread exists (it blocks signals).
absl::Status Serve(const ServeOptions& options);

}  // namespace braid::server
