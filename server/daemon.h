// `braid serve`: brings a node up, serves until it is told to stop, and takes
// it down again in order.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/options.h"

namespace braid::server {

enum class DrainResult : uint8_t {
  kComplete,  // every request ended by itself
  kCutShort,  // --drain-timeout was over first: the rest ended with UNAVAILABLE
};

// Blocks until SIGTERM or SIGINT, then drains: /ready is 503 at once, and so is
// every new request; those that run finish within --drain-timeout, or are ended
// with an error that their clients see. A second signal ends the process at
// once. An error means that serving never began, and names the remedy.
//
// REQUIRES: called before any other thread exists (it blocks signals).
absl::StatusOr<DrainResult> Serve(const ServeOptions& options);

}  // namespace braid::server
