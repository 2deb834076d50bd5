#include "server/api_keys.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/hash.h"

namespace braid::server {
namespace {

constexpr absl::string_view kDefaultTenant = "default";

bool IsTenant(absl::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::ranges::all_of(name, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '-' || c == '_' || c == '.';
         });
}

// Its time depends on the length of `given` alone, which its sender knows.
bool SameSecret(absl::string_view given, absl::string_view secret) {
  size_t difference = given.size() ^ secret.size();
  for (size_t i = 0; i < given.size(); ++i) {
    difference |=
        static_cast<unsigned char>(given[i] ^ secret[i % secret.size()]);
  }
  return difference == 0;
}

}  // namespace

absl::StatusOr<ApiKey> ParseApiKey(absl::string_view text) {
  const size_t equals = text.find('=');
  ApiKey key{std::string(kDefaultTenant), std::string(text)};
  // Base64 ends in '='.
  const bool padding =
      equals != absl::string_view::npos &&
      text.find_first_not_of('=', equals) == absl::string_view::npos;
  if (equals != absl::string_view::npos && !padding) {
    key.tenant = std::string(text.substr(0, equals));
    key.key = std::string(text.substr(equals + 1));
  }
  // The key itself stays out of the message.
  if (!IsTenant(key.tenant)) {
    return absl::InvalidArgumentError(
        "--api-key: what stands before '=' must be a tenant of 1 to 64 "
        "letters, digits, '-', '_' and '.'; write KEY or TENANT=KEY");
  }
  const bool visible = std::ranges::all_of(key.key, [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (key.key.empty() || !visible) {
    return absl::InvalidArgumentError(
        "--api-key: a key is not empty and has no spaces; write KEY or "
        "TENANT=KEY");
  }
  return key;
}

ApiKeys::ApiKeys(std::vector<ApiKey> keys, bool share_cache) {
  for (ApiKey& key : keys) {
    // The same in every process that is told the same keys.
    const uint64_t tenant =
        Hash64Of(std::span<const char>(key.tenant.data(), key.tenant.size()));
    keys_.push_back({std::move(key.key), {tenant, share_cache ? 0 : tenant}});
  }
}

std::optional<Caller> ApiKeys::Find(absl::string_view key) const {
  std::optional<Caller> found;
  for (const Entry& entry : keys_) {
    if (SameSecret(key, entry.key)) found = entry.caller;
  }
  return found;
}

}  // namespace braid::server
