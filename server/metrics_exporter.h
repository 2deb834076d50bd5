// Turns the engine's counters into Prometheus' text. The only file that knows
// prometheus-cpp.
//
// Thread safety: all methods are thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "engine/engine_stats.h"

namespace braid::server {

struct BuildInfo {
  std::string version;
  std::string model;
};

class MetricsExporter final {
 public:
  explicit MetricsExporter(BuildInfo build) : build_(std::move(build)) {}

  const BuildInfo& build() const { return build_; }

  // `route` is one of the router's, so there are few of them.
  void CountHttpResponse(absl::string_view route, int status);

  // A field of a request that had no effect. Names are the clients': those
  // beyond the first kMostFieldNames count as "other".
  void CountIgnoredField(absl::string_view field);
  static constexpr size_t kMostFieldNames = 64;

  // Everything, in the exposition format 0.0.4.
  std::string Render(const EngineStats& stats) const;

 private:
  const BuildInfo build_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::map<std::pair<std::string, int>, uint64_t> http_responses_;
  std::map<std::string, uint64_t, std::less<>> ignored_fields_;
};

}  // namespace braid::server
