// What a request asks of the scheduler besides its tokens: its class, its
// priority, how long it may take. HTTP's fields and headers, and gRPC's fields,
// mean the same by the same names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "scheduler/service_class.h"
#include "server/api_keys.h"

namespace braid::server {

inline constexpr int32_t kMaxPriority = 100;  // and -100
inline constexpr int64_t kMaxTimeoutMilliseconds = 24LL * 3600 * 1000;

struct ServiceTerms {
  std::string service_class;          // empty: the best one
  int32_t priority = 0;               // higher is served first
  std::optional<int64_t> timeout_ms;  // of the whole request, from now
  // Callers of one tenant that give different salts share no cached prefix.
  std::string cache_salt;
};

// INVALID_ARGUMENT about a header whose text is no number in range; nothing
// where there is none.
absl::Status ReadPriority(absl::string_view name, absl::string_view text,
                          ServiceTerms& terms);
absl::Status ReadTimeout(absl::string_view name, absl::string_view text,
                         ServiceTerms& terms);

// Puts them into `request`. INVALID_ARGUMENT for a class that there is not.
absl::Status Apply(const ServiceTerms& terms, const Caller& caller,
                   const std::vector<ServiceClass>& classes, TimePoint now,
                   GenerateRequest& request);

}  // namespace braid::server
