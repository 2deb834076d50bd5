#include "model/json_fields.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace braid {

absl::Status JsonFields::Wrong(const std::string& key,
                               const char* wanted) const {
  const JsonValue* value = Find(key);
  return absl::InvalidArgumentError(absl::StrCat(
      where_, ": \"", key, "\" is ",
      value == nullptr ? "missing" : value->type_name(), ", not ", wanted));
}

const JsonValue* JsonFields::Find(const std::string& key) const {
  const JsonValue* value = object_.Find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

absl::StatusOr<int64_t> JsonFields::Integer(
    const std::string& key, std::optional<int64_t> fallback) const {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || value->integer() == nullptr) {
    return Wrong(key, "an integer");
  }
  return *value->integer();
}

absl::StatusOr<double> JsonFields::Real(const std::string& key,
                                        std::optional<double> fallback) const {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value != nullptr && value->real() != nullptr) return *value->real();
  if (value != nullptr && value->integer() != nullptr) {
    return static_cast<double>(*value->integer());
  }
  return Wrong(key, "a number");
}

absl::StatusOr<bool> JsonFields::Boolean(const std::string& key,
                                         std::optional<bool> fallback) const {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || value->boolean() == nullptr) {
    return Wrong(key, "a boolean");
  }
  return *value->boolean();
}

absl::StatusOr<std::string> JsonFields::String(
    const std::string& key, std::optional<std::string> fallback) const {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || value->string() == nullptr) {
    return Wrong(key, "a string");
  }
  return *value->string();
}

absl::Status JsonFields::Get(const std::string& key, int32_t& field,
                             std::optional<int64_t> fallback) const {
  BRAID_ASSIGN_OR_RETURN(const int64_t value, Integer(key, fallback));
  if (!std::in_range<int32_t>(value)) return Wrong(key, "of 32 bits");
  field = static_cast<int32_t>(value);
  return absl::OkStatus();
}

absl::Status JsonFields::Get(const std::string& key, float& field,
                             std::optional<double> fallback) const {
  BRAID_ASSIGN_OR_RETURN(const double value, Real(key, fallback));
  field = static_cast<float>(value);
  return absl::OkStatus();
}

}  // namespace braid
