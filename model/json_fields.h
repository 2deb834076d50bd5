// Typed access to the members of a JSON object that a model came with: each
// error names the file and the key. null counts as absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "model/json_value.h"

namespace braid {

class JsonFields final {
 public:
  // `object` must outlive it; `where` names it in messages ("config.json").
  JsonFields(const JsonValue& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  // Null pointer when absent.
  const JsonValue* Find(const std::string& key) const;
  bool Has(const std::string& key) const { return Find(key) != nullptr; }
  // Without a fallback an absent key is INVALID_ARGUMENT, as a wrong type is.
  absl::StatusOr<int64_t> Integer(const std::string& key,
                                  std::optional<int64_t> fallback = {}) const;
  absl::StatusOr<double> Real(const std::string& key,
                              std::optional<double> fallback = {}) const;
  absl::StatusOr<bool> Boolean(const std::string& key,
                               std::optional<bool> fallback = {}) const;
  absl::StatusOr<std::string> String(
      const std::string& key, std::optional<std::string> fallback = {}) const;
  absl::Status Get(const std::string& key, int32_t& field,
                   std::optional<int64_t> fallback = {}) const;
  absl::Status Get(const std::string& key, float& field,
                   std::optional<double> fallback = {}) const;

  const std::string& where() const { return where_; }

 private:
  absl::Status Wrong(const std::string& key, const char* wanted) const;

  const JsonValue& object_;
  const std::string where_;
};

}  // namespace braid
