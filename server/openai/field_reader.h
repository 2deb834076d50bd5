// Typed reads of a JSON object's fields. Absent and null fields keep their
// default. The first wrong type or value is remembered, and everything after it
// answers with defaults, so that a parser reads like a list of its fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/json_value.h"

namespace braid::server {

class FieldReader {
 public:
  // `object` outlives the reader. `path` prefixes the names in errors.
  explicit FieldReader(const JsonValue& object, std::string path = "");

  bool Bool(absl::string_view key, bool fallback);
  int64_t Integer(absl::string_view key, int64_t fallback, int64_t min,
                  int64_t max);
  std::optional<int64_t> OptionalInteger(absl::string_view key, int64_t min,
                                         int64_t max);
  double Number(absl::string_view key, double fallback, double min, double max);
  std::string String(absl::string_view key, std::string fallback = "");

  // Null when absent or JSON null.
  const JsonValue* Get(absl::string_view key) const;

  void Fail(absl::string_view key, absl::string_view message);
  // "must be a string, not an integer".
  void FailType(absl::string_view key, absl::string_view wanted,
                const JsonValue& got);
  // Takes over the trouble of a reader of a nested object.
  void Adopt(const FieldReader& nested);
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  const JsonValue& object_;
  std::string path_;
  absl::Status status_;
};

}  // namespace braid::server
