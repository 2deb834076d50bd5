#include "server/service_terms.h"

#include <algorithm>
#include <span>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/hash.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

absl::StatusOr<int64_t> ReadInteger(absl::string_view name,
                                    absl::string_view text, int64_t min,
                                    int64_t max) {
  int64_t number = 0;
  if (absl::SimpleAtoi(text, &number) && number >= min && number <= max) {
    return number;
  }
  return InvalidField(
      name, absl::StrCat("must be an integer between ", min, " and ", max));
}

}  // namespace

absl::Status ReadPriority(absl::string_view name, absl::string_view text,
                          ServiceTerms& terms) {
  if (text.empty()) return absl::OkStatus();
  const auto number = ReadInteger(name, text, -kMaxPriority, kMaxPriority);
  if (number.ok()) terms.priority = static_cast<int32_t>(*number);
  return number.status();
}

absl::Status ReadTimeout(absl::string_view name, absl::string_view text,
                         ServiceTerms& terms) {
  if (text.empty()) return absl::OkStatus();
  const auto number = ReadInteger(name, text, 1, kMaxTimeoutMilliseconds);
  if (number.ok()) terms.timeout_ms = *number;
  return number.status();
}

absl::Status Apply(const ServiceTerms& terms, const Caller& caller,
                   const std::vector<ServiceClass>& classes, TimePoint now,
                   GenerateRequest& request) {
  if (!terms.service_class.empty()) {
    const auto found =
        std::ranges::find(classes, terms.service_class, &ServiceClass::name);
    if (found == classes.end()) {
      return InvalidField(
          "service_class",
          absl::StrCat(
              "there is no class '", terms.service_class.substr(0, 100),
              "' here; this server has ",
              absl::StrJoin(classes, ", ",
                            [](std::string* out, const ServiceClass& each) {
                              absl::StrAppend(out, "'", each.name, "'");
                            })));
    }
    request.service_class = static_cast<uint32_t>(found - classes.begin());
  }
  request.priority = terms.priority;
  if (terms.timeout_ms) {
    request.deadline = now + std::chrono::milliseconds(*terms.timeout_ms);
  }
  request.tenant = caller.tenant;
  request.cache_salt = caller.cache_salt;
  if (!terms.cache_salt.empty()) {
    request.cache_salt = Hash64Of(
        std::span<const char>(terms.cache_salt.data(), terms.cache_salt.size()),
        caller.cache_salt);
  }
  return absl::OkStatus();
}

}  // namespace braid::server
