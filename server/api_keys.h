// Who may ask: keys, and the tenants that they stand for.
//
// Immutable after construction; any thread may use it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace braid::server {

struct ApiKey {
  std::string tenant;  // keys of one tenant are one to the scheduler
  std::string key;
};
// "KEY", of the tenant "default", or "TENANT=KEY". A tenant has letters,
// digits, '-', '_' and '.'; '=' at the end of a key belongs to it.
absl::StatusOr<ApiKey> ParseApiKey(absl::string_view text);

// On whose behalf a request is made.
struct Caller {
  uint64_t tenant = 0;  // among whom service classes are shared fairly
  // Callers of different salts never share a cached prefix.
  uint64_t cache_salt = 0;
};

class ApiKeys final {
 public:
  // None: nobody needs one, and there is one tenant. `share_cache`: among all
  // tenants.
  explicit ApiKeys(std::vector<ApiKey> keys = {}, bool share_cache = false);

  bool needed() const { return !keys_.empty(); }
  // Null for a wrong key. Takes as long for one key as for another.
  std::optional<Caller> Find(absl::string_view key) const;

 private:
  struct Entry {
    std::string key;
    Caller caller;
  };
  std::vector<Entry> keys_;
};

}  // namespace braid::server
