// Service classes as --class has them: "interactive:ttft=2s,tpot=100ms".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "scheduler/service_class.h"

namespace braid::server {

// Best first. What a spec leaves out is that of the best default class;
// `max_queued` where it says no queue. None: DefaultServiceClasses() with
// queues of `max_queued`. INVALID_ARGUMENT names the flag.
absl::StatusOr<std::vector<ServiceClass>> ParseServiceClasses(
    const std::vector<std::string>& specs, uint32_t max_queued);

// As ParseServiceClasses takes it.
std::string ToString(const ServiceClass& service_class);

// "2s", "100ms", "1.5s", "2m": more than 0, at most a day.
absl::StatusOr<Duration> ParseDuration(absl::string_view text);

}  // namespace braid::server
