// Sends a planned load to an OpenAI-compatible server over HTTP/1.1 and records
// what becomes of it.
//
// Open loop: a request is sent when it is due, whatever has become of those
// before it; closed loop: so many are under way at any time. Either way each
// has a connection of its own, so that none waits for another's and servers
// that close idle connections are not at an advantage.
//
// One thread, the caller's. Nothing of a request is made before it is due, so
// what the sender costs is spread as the load is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/load/record.h"
#include "bench/load/workload.h"

namespace braid::load {

struct Target {
  std::string host = "127.0.0.1";
  std::string port = "8000";
  std::string path = "/v1/completions";
  std::string model;  // left out of requests when empty
  // More members of every body, as JSON without braces: "\"seed\":1".
  std::string more_body;
  std::vector<std::pair<std::string, std::string>> headers;
  // Prompts are token ids of this range, drawn by seed and index: every server
  // gets the same, and no two share a prefix.
  uint32_t low_token = 1000, high_token = 10000;
  uint64_t seed = 1;
};

// "http://host:port/path"; the path may be missing.
absl::StatusOr<Target> ParseUrl(std::string_view url);

struct SendOptions {
  size_t max_connections = 1024;
  size_t closed_loop = 0;  // requests under way; 0: open loop
  double seconds = 0;      // closed loop: none is sent after
  double patience = 60;    // seconds after the last one is sent
  bool keep_token_times = false;
};

// The body of request `index`.
std::string RequestBody(const Target& target, uint32_t index,
                        const PlannedRequest& request);

// A record for each request of the plan that was due, in its order. SIGINT and
// SIGTERM end the run early.
std::vector<Record> Send(const Target& target,
                         std::span<const PlannedRequest> plan,
                         const SendOptions& options);

}  // namespace braid::load
