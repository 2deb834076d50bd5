// A JSON document as a value: objects keep the order of their keys, as chat
// templates print them. Parsing is simdjson's; this is only the tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace braid {

// A value type; as thread-safe as a std::vector.
class JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Object = std::vector<std::pair<std::string, JsonValue>>;

  JsonValue() = default;  // null
  JsonValue(std::nullptr_t) {}
  JsonValue(bool b) : value_(b) {}
  JsonValue(int64_t i) : value_(i) {}
  JsonValue(int i) : value_(int64_t{i}) {}
  JsonValue(double d) : value_(d) {}
  JsonValue(std::string s) : value_(std::move(s)) {}
  JsonValue(std::string_view s) : value_(std::string(s)) {}
  JsonValue(const char* s) : value_(std::string(s)) {}
  JsonValue(Array a) : value_(std::move(a)) {}
  JsonValue(Object o) : value_(std::move(o)) {}

  bool is_null() const { return value_.index() == 0; }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&value_); }
  const double* real() const { return std::get_if<double>(&value_); }
  const std::string* string() const {
    return std::get_if<std::string>(&value_);
  }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }

  // Member of an object; null pointer when absent or not an object.
  const JsonValue* Find(std::string_view key) const;
  // "null", "boolean", "integer", "number", "string", "array", "object".
  const char* type_name() const;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array,
               Object>
      value_;
};

// INVALID_ARGUMENT with the byte offset. Nesting is bounded (64). Integers that
// do not fit int64 become double. Of equal keys in one object the last value
// wins, at the place of the first.
absl::StatusOr<JsonValue> ParseJson(std::string_view text);

// Appends `text` as the inside of a JSON string (escapes, no quotes). Invalid
// UTF-8 becomes U+FFFD.
void AppendJsonEscaped(std::string_view text, std::string& out);
// Compact; numbers as short as they read back exactly, null for NaN and
// infinities.
std::string ToJson(const JsonValue& value);

}  // namespace braid
